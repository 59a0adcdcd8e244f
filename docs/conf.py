"""How Sphinx makes a site of these pages, of the models' cards and of the docstrings: `make docs`."""

import re
from pathlib import Path
from typing import Any

from evatok import __version__

project = "evatok"
html_title = f"evatok {__version__}"
html_theme = "furo"
html_show_copyright = False
exclude_patterns = ["_build"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# Headings can be linked to as a code host does it: `data.md#what-is-held-out`.
myst_heading_anchors = 3

# Docstrings are Google's style, and have `code` between single marks, as Markdown has it.
default_role = "literal"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100

WEIGHTS = Path(__file__).resolve().parents[1] / "src" / "evatok" / "weights"
CARD = r"\((?:[\w./-]*/)?(evatok-[\w-]+)/README\.md\)"


def put_cards(app: Any, docname: str, source: list[str]) -> None:
    """On the site a card, which lies beside its weights, stands where `cards/` links to it, and links lead there."""
    folder, _, name = docname.rpartition("/")
    if folder == "cards":
        text = (WEIGHTS / name / "README.md").read_text(encoding="utf-8")
        source[0] = text.partition("\n---\n")[2]  # after what it says to a hub
    source[0] = re.sub(CARD, rf"({'' if folder else 'cards/'}\1.md)", source[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", put_cards)
