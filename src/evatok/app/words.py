"""What the page says, as HTML: numbers of strategies side by side, what is going on, what went wrong."""

from collections.abc import Mapping
from html import escape

from evatok.app.charts import mark_of
from evatok.app.clip_curve import Point
from evatok.codec.scored import Scored

_HEADER = ("", "tokens", "tokens/s", "bits/px", "PSNR dB", "LPIPS")
_NOTES = {
    "best fixed": "best fixed gives every clip {}",
    "uniform": "uniform has clips at {}",
}


def told(sentence: str) -> str:
    """A line that says what is going on."""
    return f'<p class="told" role="status">{escape(sentence)}</p>'


def wrong(sentence: str) -> str:
    """A line that says what went wrong."""
    return f'<p class="told wrong" role="alert">{escape(sentence)}</p>'


def scores(rows: Mapping[str, Scored]) -> str:
    """A table of what strategies cost and bring, each under its mark."""
    head = "".join(f"<th>{name}</th>" for name in _HEADER)
    body = "".join(
        f"<tr><th>{mark_of(name)}{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in _cells(scored))}</tr>"
        for name, scored in rows.items()
    )
    notes = "; ".join(_NOTES[name].format(scored.assignment) for name, scored in rows.items() if name in _NOTES)
    note = f'<p class="note">At the cost of the router: {notes}.</p>' if notes else ""
    return f'<table class="scores"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}'


def picks(points: Mapping[str, Point]) -> str:
    """What strategies chose of a clip, each under its mark."""
    items = "".join(
        f"<li>{mark_of(name)}<b>{escape(name)}</b> {' '.join(map(str, point.assignment))}"
        f"<span>{point.tokens} tokens, LPIPS {point.lpips:.3f}</span></li>"
        for name, point in points.items()
    )
    return f'<ul class="picks">{items}</ul>'


def _cells(scored: Scored) -> tuple[str, ...]:
    quality = (
        "–" if value is None else f"{value:.{digits}f}" for value, digits in ((scored.psnr, 2), (scored.lpips, 3))
    )
    return f"{scored.tokens}", f"{scored.tokens_per_second:.0f}", f"{scored.bits_per_pixel:.5f}", *quality
