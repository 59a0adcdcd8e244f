"""The section of a search: what was searched, how far it is, and every assignment's cost and quality."""

from collections.abc import Iterator
from pathlib import Path

from evatok.figures.curve import assignments_figure
from evatok.figures.embedded import svg_uri
from evatok.reports.card import described_source
from evatok.reports.record import RecordError, read_json
from evatok.reports.run.page import Facts, Part, Picture, Section, Text
from evatok.search.table import SearchTable
from evatok.stages.search.folder import PLAN, read_plan, read_table
from evatok.utils.parts import undone


def is_search(folder: Path) -> bool:
    """Whether a folder is a search's, whose plan has what makes it."""
    try:
        return "made_by" in read_json(folder / PLAN)
    except RecordError:
        return False


def search_section(folder: Path, place: str) -> Section:
    """The section of a search's folder.

    Raises:
        ValueError: its files are damaged.
    """
    plan = read_plan(folder)
    made_by, parts = plan.made_by, plan.parts(folder)
    missing = len(undone(parts))
    rows = {
        "tokenizer": f"{made_by['tokenizer']} ({made_by['checksum']})",
        "clips": f"{plan.clips}, in {len(parts)} parts" + (f", {missing} of which are not done" if missing else ""),
        "sources": "; ".join(described_source(source) for source in made_by["sources"]),
        "drawn": str(made_by.get("drawn", "")),
        "size": " × ".join(map(str, made_by["size"])),
        "seed": str(made_by["seed"]),
        "LPIPS by": str(made_by["lpips_net"]),
    }
    rows |= {name: str(version) for name, version in made_by.get("versions", {}).items()}
    shown = [*_table(read_table(folder))] if not missing else [Text("The search goes on: no figure.", missing=True)]
    return Section("Search", place, [Facts(rows), *shown])


def _table(table: SearchTable) -> Iterator[Part]:
    whole, space = table.whole, table.space
    if table.skipped:
        yield Text(f"{len(table.skipped)} clips could not be read, such as: {next(iter(table.skipped.values()))}")
    if not len(whole):
        yield Text("No clip was searched under every assignment: no figure.", missing=True)
        return
    means, costs = whole.clip_lpips.double().mean(0).tolist(), space.costs.tolist()
    every = [*zip(costs, means, strict=True)]
    uniform = [every[space.index(space.uniform(level))] for level in space.levels]
    lines = {"uniform": uniform, "best fixed": _best(every)}
    title = f"mean LPIPS of {len(whole)} clips under each of {len(space)} assignments"
    yield Picture(svg_uri(assignments_figure(title, "LPIPS ↓", every, lines)), title)


def _best(every: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other one beats in both tokens and LPIPS."""
    best: list[tuple[float, float]] = []
    for point in sorted(every):
        if not best or point[1] < best[-1][1]:
            best.append(point)
    return best
