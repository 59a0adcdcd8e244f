"""Figures and pictures as text within a page: data URIs."""

from base64 import b64encode
from io import BytesIO, StringIO

from matplotlib import rc_context
from matplotlib.figure import Figure


def svg_uri(figure: Figure) -> str:
    """A figure as lines and letters, sharp at any size."""
    text = StringIO()
    # Letters stay letters, and the same figure is the same text each time.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "evatok"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return _uri("image/svg+xml", text.getvalue().encode(errors="backslashreplace"))


def figure_uri(figure: Figure) -> str:
    """A figure that holds photographs, as pixels."""
    data = BytesIO()
    figure.savefig(data, format="png")
    return png_uri(data.getvalue())


def png_uri(data: bytes) -> str:
    """What a PNG file holds."""
    return _uri("image/png", data)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"
