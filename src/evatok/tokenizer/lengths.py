"""How many tokens each block of each clip gets: as it is said, or as a router says."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from evatok.allocation.budget import lowest_price
from evatok.assignment import AssignmentError
from evatok.router.model import Router
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.footage import Footage, Piece

log = logging.getLogger(__name__)

Lengths = Sequence[int] | Tensor


@dataclass(frozen=True)
class Wish:
    """What is asked for, at most one of these; nothing asks for what the tokenizer holds best.

    Args:
        assignment: tokens of each block of a clip, `(T,)` for all videos or `(B, T)`.
        w_q: preference of quality over length, above 0 and at most 2.
        tokens: mean tokens of a clip, by the price that the router has stored for it.
        tokens_per_second: tokens that a second of each video may take, by one price for all its clips.
    """

    assignment: Lengths | None = None
    w_q: float | None = None
    tokens: float | None = None
    tokens_per_second: float | None = None

    def __post_init__(self) -> None:
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"at most one of {', '.join(vars(self))} can be asked for, got {' and '.join(given)}")


class Chooser(Protocol):
    """Gives every clip its lengths."""

    def lengths(self, piece: Piece) -> Tensor:
        """Tokens of each block of a piece's clips, `(n, blocks)` int64; pieces come in the order of their footage."""


def chooser(wish: Wish, config: TokenizerConfig, router: Router | None, footage: Footage, videos: int) -> Chooser:
    """What fulfils a wish.

    Args:
        wish: what is asked for.
        config: the tokenizer's.
        router: what the tokenizer carries, if anything.
        footage: the videos, which are read here only for `tokens_per_second`.
        videos: their number.

    Raises:
        ValueError: for an assignment, preference or budget that cannot be, or where there is no router to ask.
    """
    if wish.assignment is not None:
        return Fixed(full_assignments(wish.assignment, config, videos), config.block_frames)
    if router is None:
        _refuse_without_router(wish)
        log.info("no assignment given: taking the default %s", config.default_assignment)
        return Fixed(full_assignments(config.default_assignment, config, videos), config.block_frames)
    if wish.tokens_per_second is not None:
        return _at_rate(wish.tokens_per_second, router, footage)
    return ByPrice(router, router.price(wish.w_q) if wish.tokens is None else router.price_for(wish.tokens))


def full_assignments(assignment: Lengths, config: TokenizerConfig, videos: int) -> Tensor:
    """Full assignments of all videos, `(videos, T)` int64; AssignmentError for what is none."""
    lengths, blocks = torch.as_tensor(assignment), config.blocks
    if lengths.is_floating_point() or lengths.shape not in ((blocks,), (videos, blocks)):
        raise AssignmentError(
            f"assignment must be integers of shape ({blocks},) or ({videos}, {blocks}), "
            f"got {lengths.dtype} {tuple(lengths.shape)}"
        )
    lengths = lengths.expand(videos, blocks)
    for row in lengths.tolist():
        config.space.check(row)
    return lengths


@dataclass(frozen=True)
class Fixed:
    """Every clip of a video has the same lengths, `(videos, T)`; a shorter one takes their beginning."""

    assignments: Tensor
    block_frames: int

    def lengths(self, piece: Piece) -> Tensor:
        """As `Chooser.lengths` says."""
        blocks = -(-piece.clips.shape[1] // self.block_frames)
        return self.assignments[piece.videos, :blocks]


@dataclass(frozen=True)
class ByPrice:
    """Every clip has what its router picks at a price of a token."""

    router: Router
    price: float

    def lengths(self, piece: Piece) -> Tensor:
        """As `Chooser.lengths` says."""
        return self.router.pick(piece.clips, self.price)


@dataclass(frozen=True)
class ByTables:
    """Every clip has what is picked from its table, which is used up, at its video's price."""

    router: Router
    tables: list[list[Tensor]]
    prices: list[float]

    def lengths(self, piece: Piece) -> Tensor:
        """As `Chooser.lengths` says."""
        rows = [self.router.pick_from(self.tables[video].pop(0)[None], self.prices[video])[0] for video in piece.videos]
        return torch.stack(rows)


def _at_rate(rate: float, router: Router, footage: Footage) -> ByTables:
    """Reads the footage once for its tables, and finds each video's price."""
    router.check_budgets()
    tables: dict[int, list[Tensor]] = {}
    for piece in footage.pieces():
        for video, table in zip(piece.videos, router.table(piece.clips), strict=True):
            tables.setdefault(video, []).append(table)
    records = footage.records()
    found = [tables[number] for number in range(len(records))]
    prices = [_price(rate, router, each, record.seconds) for each, record in zip(found, records, strict=True)]
    return ByTables(router, found, prices)


def _price(rate: float, router: Router, tables: list[Tensor], seconds: float) -> float:
    """The lowest price at which the clips of a video keep to a rate."""
    # Only the last clip may have fewer blocks.
    same = [table for table in tables if len(table) == len(tables[0])]
    groups = [torch.stack(group) for group in (same, tables[len(same) :]) if group]

    def spent(price: float) -> int:
        return sum(int(router.pick_from(group, price).sum()) for group in groups)

    least = sum(group.shape[0] * router.fewest(group.shape[1]) for group in groups)
    if not least <= rate * seconds:
        shortest = f"{least / seconds:.1f}, which the shortest assignments take"
        raise ValueError(f"tokens_per_second must be at least {shortest}, got {rate:g}")
    return lowest_price(lambda price: spent(price) <= rate * seconds)


def _refuse_without_router(wish: Wish) -> None:
    asked = next((name for name, value in vars(wish).items() if value is not None), None)
    if asked:
        raise ValueError(
            f"{asked} needs a router and this tokenizer carries none: ask for an assignment, or give it one with "
            "`carry(Router.from_pretrained(...))`"
        )
