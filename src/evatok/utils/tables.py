"""Tables that read well as text and as Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells in rows under a header; as text it is a Markdown table, the first column to the left, others to the right.

    Args:
        header: a name for each column.
        rows: as many cells each.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        lines = [self.header, *self.rows]
        first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
        lines.insert(1, ["-" * first, *("-" * (width - 1) + ":" for width in others)])
        padded = (
            [line[0].ljust(first), *(cell.rjust(width) for cell, width in zip(line[1:], others, strict=True))]
            for line in lines
        )
        return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A `Table` as text."""
    return str(Table(header, [*rows]))
