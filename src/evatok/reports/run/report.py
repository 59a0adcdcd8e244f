"""`evatok report`: finds what a folder holds, and writes the page."""

from collections.abc import Callable, Iterator
from pathlib import Path

from evatok.reports.record import provenance
from evatok.reports.run.page import Section, Text, page
from evatok.reports.run.training import is_training, training_section
from evatok.utils.files import destination, write_text

# Folders of a run that are part of it, and how far folders within folders are looked into.
_PARTS = {"checkpoints", "final", "log", "router", "__pycache__"}
_DEEPEST = 3


def write_report(folder: Path, output: Path) -> int:
    """Writes one page of all that a folder holds, and the folders in it.

    Args:
        folder: a run's, a search's, an evaluation's, or one that holds several.
        output: the HTML file.

    Returns:
        The number of its sections.

    Raises:
        ValueError: it is no folder, or nothing in it is evatok's.
        OSError: the page cannot be written.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    destination(output)
    found = [*_sections(folder, folder, 0)]
    if not found:
        raise ValueError(
            f"{folder} holds nothing that evatok has written: no run, search, evaluation, curve, report or cards"
        )
    made = provenance()
    by = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    about = f"Made {made['date']} by `{made['command']}` ({by}, commit {made['commit'] or 'unknown'})"
    write_text(output, page(f"evatok: {folder.resolve().name}", found, about))
    return len(found)


def _sections(root: Path, folder: Path, depth: int) -> Iterator[Section]:
    """Of a folder, and then of those in it."""
    place = str(folder.relative_to(root)) if folder != root else folder.resolve().name
    if is_training(folder):
        yield _tried(lambda: training_section(folder, place), "A training", place)
    if depth < _DEEPEST:
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not inner.name.startswith(".") and inner.name not in _PARTS:
                yield from _sections(root, inner, depth + 1)


def _tried(make: Callable[[], Section], title: str, place: str) -> Section:
    """A section; of damaged files, what is wrong with them."""
    try:
        return make()
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        said = f"It cannot be shown, as it is not what evatok writes: {type(error).__name__}: {error}"
        return Section(title, place, [Text(said, missing=True)])
