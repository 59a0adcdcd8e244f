"""Work in parts, each of which ends with a file: a run that is killed loses the parts under way and no others."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Runner = Literal["local", "ray"]


@dataclass(frozen=True)
class Part:
    """A part: the file that says that it is done, and the places of what it holds."""

    path: str
    places: range


# Does a part, and says how many more things are done whenever some are.
Work = Callable[[Part, Callable[[int], object]], None]


def part_name(number: int) -> str:
    """Name of a part's file."""
    return f"part-{number:05d}.parquet"


def parts_in(folder: Path, places: Iterable[range]) -> list[Part]:
    """The parts in a folder that hold these places, in order."""
    return [Part(str(folder / part_name(number)), some) for number, some in enumerate(places)]


def undone(parts: Iterable[Part]) -> list[Part]:
    """Those whose files are not there yet."""
    return [part for part in parts if not Path(part.path).exists()]


def run_parts(
    make: Callable[[], Work], parts: list[Part], runner: Runner, actors: int | None, done: Callable[[int], object]
) -> None:
    """Does parts, in this process or in Ray's actors.

    Args:
        make: makes what does a part, once in each process; it and its parts can be pickled.
        parts: to do.
        runner: `local`: this process; `ray`: the actors of a Ray cluster, or of Ray on this machine.
        actors: number of the actors, each with a GPU or its share of the cores; None: one for each GPU, or one.
        done: is told how many more things are done, whenever some are.

    Raises:
        ValueError: Ray is asked for and not installed.
    """
    if not parts:
        return
    if runner == "ray":
        from evatok.utils.ray import run_by_ray

        return run_by_ray(make, parts, actors, done)
    work = make()
    for part in parts:
        work(part, done)


def differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Keys by which two descriptions of parts differ."""
    return [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
