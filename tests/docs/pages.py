"""What the pages of the documentation hold: commands, Python, links and headings."""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
SCRIPTS = sorted([*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "examples").glob("*.py")])
_SHELL = ("", "sh", "bash")


@dataclass(frozen=True)
class Command:
    """A command line of a page.

    Args:
        page: as it is seen from the repository.
        number: of the line where it begins, from 1 on.
        words: as a shell makes them of it.
    """

    page: str
    number: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"

    @property
    def line(self) -> str:
        """As it may be typed."""
        return shlex.join(self.words)

    @property
    def evatok(self) -> list[str] | None:
        """What `evatok` is told, by itself or under a launcher; None where it is another program's line."""
        if self.words[0] == "evatok":
            return list(self.words[1:])
        if self.words[0] in ("accelerate", "torchrun") and "evatok" in self.words:
            return list(self.words[self.words.index("evatok") + 1 :])
        return None


def tokens_of(page: Path) -> list[Token]:
    """The page as CommonMark and its tables."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def commands_of(page: Path) -> list[Command]:
    """The lines of its blocks that begin with a program's name, in order."""
    found = []
    for token in tokens_of(page):
        if token.type == "code_block" or (token.type == "fence" and token.info in _SHELL):
            assert token.map is not None
            first = token.map[0] + (token.type == "fence")
            found += list(_commands(page, token.content.splitlines(), first + 1))
    return found


def commands_of_config(path: Path) -> list[Command]:
    """Those in the comment that a config begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]
    return list(_commands(path, [line[1:] for line in comment], 1))


def commands_of_script(path: Path) -> list[Command]:
    """Those in the docstring of a benchmark or an example."""
    about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")), clean=False) or ""
    return list(_commands(path, [line if line.startswith("    ") else "" for line in about.splitlines()], 1))


def commands_in_text(page: Path) -> list[Command]:
    """Whole lines of Python's programs that stand between marks in the text."""
    found = (each for each in codes_of(page) if re.match(r"python (?=.* --|examples/)", each) and "NAME" not in each)
    return [command for each in found for command in _commands(page, [each], 0)]


def _commands(page: Path, lines: list[str], first: int) -> Iterator[Command]:
    """Command lines, those that go on in the next line too."""
    number = 0
    while number < len(lines):
        begin, line = number, lines[number].strip()
        while line.endswith("\\"):
            number += 1
            line = f"{line[:-1]} {lines[number].strip()}"
        number += 1
        if re.match(r"(evatok|make|pip|python|accelerate|torchrun) ", line):
            words = shlex.split(re.sub(r"\$\(.*\)", "", line), comments=True)
            yield Command(str(page.relative_to(ROOT)), first + begin, tuple(words))


def python_of(page: Path) -> list[str]:
    """The page's Python, block after block."""
    return [token.content for token in tokens_of(page) if token.type == "fence" and token.info == "python"]


def codes_of(page: Path) -> list[str]:
    """What stands between marks in the text."""
    inside = (child for token in tokens_of(page) for child in token.children or ())
    return [each.content for each in inside if each.type == "code_inline"]


def mentions_of(page: Path) -> list[str]:
    """Of that, what begins with `evatok `."""
    return [each for each in codes_of(page) if each.startswith("evatok ")]


def links_of(page: Path) -> list[str]:
    """Where links and pictures of the page lead."""
    inside = (child for token in tokens_of(page) for child in token.children or ())
    return [str(each.attrs.get("href") or each.attrs.get("src")) for each in inside if each.type in _LINKS]


_LINKS = ("link_open", "image")


def anchors_of(page: Path) -> set[str]:
    """What a code host calls the page's headings in links."""
    tokens = tokens_of(page)
    titles = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
