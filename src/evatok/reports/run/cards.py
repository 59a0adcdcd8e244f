"""The section of result cards: those of one protocol in one table, wherever in the folder they lie."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from evatok.evaluation.result_card import BIASED, Protocol, ResultCard, number_cell, protocol_line
from evatok.reports.generated import card_rows
from evatok.reports.run.page import Cells, Folded, Part, Section, Text
from evatok.utils.tables import Table

# A card, and the file that it is in.
Found = tuple[Path, ResultCard]


def cards_section(found: Sequence[Found], root: Path) -> Section:
    """All cards of a report, a table for each protocol; one that is in several files counts once."""
    unique: dict[Protocol, list[Found]] = {}
    for path, card in found:
        some = unique.setdefault(card.protocol, [])
        if all(card != known for _, known in some):
            some.append((path, card))
    parts = [part for protocol, some in unique.items() for part in _parts(protocol, some, root)]
    return Section("Result cards", f"of {len({path for path, _ in found})} files", parts)


def _parts(protocol: Protocol, found: Sequence[Found], root: Path) -> Iterator[Part]:
    by_file: dict[Path, list[ResultCard]] = {}
    for path, card in found:
        by_file.setdefault(path, []).append(card)
    columns = dict.fromkeys(name for _, card in found for name in card.numbers)
    rows = []
    for path, cards in by_file.items():
        for name, (card, *_) in card_rows(_name(path, root), cards):
            numbers = (number_cell(card, column) if column in card.numbers else "" for column in columns)
            rows.append([name, "?" if card.tokens is None else f"{card.tokens:.1f}", *numbers])
    yield Cells(Table(["", "tokens a clip", *columns], rows), protocol_line(protocol))
    if any(card.biased for _, card in found):
        yield Text(BIASED)
    yield Folded("What made these numbers", "\n\n".join(_made_by(_name(path, root), card) for path, card in found))


def _name(path: Path, root: Path) -> str:
    """A file below the report's folder; of those with the usual names, their folder."""
    inner = path.relative_to(root)
    usual = path.stem in ("cards", "generation", "prediction")
    return str(inner.parent if usual and inner.parent.name else inner.with_suffix(""))


def _made_by(name: str, card: ResultCard) -> str:
    networks = "not known" if card.trained_by is None else ", ".join(card.trained_by) or "none"
    lines = [
        name,
        card.command,
        f"{card.date}, " + ", ".join(f"{what} {version}" for what, version in card.versions.items()),
        f"commit {card.commit or 'unknown'}",
        f"tokenizer {card.tokenizer[0]} ({card.tokenizer[1]}); networks in its losses: {networks}",
        f"generator {card.generator[0]} ({card.generator[1]})" if card.generator else "",
        "sampling: " + ", ".join(f"{what} {value}" for what, value in card.sampling.items()),
    ]
    return "\n".join(line for line in lines if line)
