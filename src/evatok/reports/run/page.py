"""A page of sections as one HTML file that needs nothing else; nothing out of a file becomes markup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader

from evatok.figures import style
from evatok.utils.tables import Table


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; `missing` for one that says what is not there."""

    text: str
    missing: bool = False


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    rows: Mapping[str, str]


@dataclass(frozen=True)
class Cells:
    """A table, with a line above that says what is in it; folded, the line opens it."""

    table: Table
    about: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture.

    Args:
        uri: its data.
        about: what it shows, in words; they stand below it.
        wide: whether it is too wide for a phone, where it then scrolls.
    """

    uri: str
    about: str
    wide: bool = False


@dataclass(frozen=True)
class Gallery:
    """Small pictures, as many beside each other as fit."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Folded:
    """Preformatted text under a title that opens it."""

    title: str
    text: str


Part = Heading | Text | Facts | Cells | Picture | Gallery | Folded


@dataclass(frozen=True)
class Section:
    """What is said of one thing.

    Args:
        title: what it is.
        place: the file or folder that it is about, below the report's folder.
        parts: in order.
    """

    title: str
    place: str
    parts: Sequence[Part]


def page(title: str, sections: Sequence[Section], about: str) -> str:
    """The page.

    Args:
        title: of the page.
        sections: in order.
        about: its last line: when and by what it was made.
    """
    environment = Environment(
        loader=PackageLoader("evatok.reports.run", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["kind"] = lambda part: type(part).__name__
    template = environment.get_template("page.html")
    return template.render(title=title, sections=sections, about=about, style=style)
