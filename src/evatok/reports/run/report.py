"""`evatok report`: finds what a folder holds, and writes the page."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from evatok.reports.card import TRAINING
from evatok.reports.record import provenance
from evatok.reports.run.cards import Found, cards_section
from evatok.reports.run.page import Section, Text, page
from evatok.reports.run.records import cards_in, record_section
from evatok.reports.run.search import is_search, search_section
from evatok.reports.run.training import is_training, training_section
from evatok.utils.files import destination, reason, write_text

# Folders of a training that are part of it, and how far folders within folders are looked into.
_PARTS = {"checkpoints", "final", "log", "router"}
_DEEPEST = 3
_MOST_BYTES = 2**26


def write_report(folder: Path, output: Path) -> int:
    """Writes one page of all that a folder holds, and the folders in it.

    Args:
        folder: a run's, a search's, an evaluation's, or one that holds several.
        output: the HTML file.

    Returns:
        The number of its sections.

    Raises:
        ValueError: it is no folder, nothing in it is evatok's, or the name of the page is not that of one.
        OSError: the page cannot be written.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    if destination(output).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"cannot write {output}: its name must end in .html, so that it replaces no record")
    found, cards = list[Section](), list[Found]()
    for path in _within(folder, 0):
        found += _sections_of(path, folder, cards)
    if cards:
        found.insert(0, cards_section(cards, folder))
    if not found:
        raise ValueError(
            f"{folder} holds nothing that evatok has written: no run, search, evaluation, curve, report or cards"
        )
    made = provenance()
    by = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    about = f"Made {made['date']} by `{made['command']}` ({by}, commit {made['commit'] or 'unknown'})"
    text = page(f"evatok: {folder.resolve().name}", found, about)
    # Names of files, and texts in them, need not be in UTF-8.
    write_text(output, text.encode(errors="backslashreplace").decode())
    return len(found)


def _within(folder: Path, depth: int) -> Iterator[Path]:
    """A folder, its JSON files but that of a training, which is the folder's, and then those of the folders in it."""
    yield folder
    inner = sorted(folder.iterdir())
    yield from (path for path in inner if path.suffix == ".json" and path.name != TRAINING)
    own = _PARTS if is_training(folder) else set()
    for path in inner if depth < _DEEPEST else ():
        if path.is_dir() and not path.name.startswith(".") and path.name not in own:
            yield from _within(path, depth + 1)


def _sections_of(path: Path, root: Path, cards: list[Found]) -> Iterator[Section]:
    """What is said of a folder or file; its cards join `cards`."""
    place = str(path.relative_to(root)) if path != root else path.resolve().name
    if path.is_dir():
        kinds = {"Training": (is_training, training_section), "Search": (is_search, search_section)}
        for title, (is_one, section) in kinds.items():
            if is_one(path):
                yield from _tried(partial(section, path, place), title, place)
    elif path.stat().st_size <= _MOST_BYTES:
        yield from _of_file(path, place, cards)


def _of_file(path: Path, place: str, cards: list[Found]) -> Iterator[Section]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        cards += [(path, card) for card in cards_in(entries)]
    except (OSError, RecursionError, TypeError, ValueError) as error:
        yield Section("A file", place, [Text(f"It cannot be read: {reason(error)}", missing=True)])
        return
    yield from _tried(partial(record_section, path, entries, place), "A record", place)


def _tried(make: Callable[[], Section | None], title: str, place: str) -> Iterator[Section]:
    """A section, if there is one; of damaged files, what is wrong with them."""
    try:
        made = make()
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        said = f"It cannot be shown, as it is not what evatok writes: {type(error).__name__}: {error}"
        made = Section(title, place, [Text(said, missing=True)])
    if made is not None:
        yield made
