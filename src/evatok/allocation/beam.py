"""Lengths by measuring the blocks that look best: a beam over prefixes, for clips of any number of blocks.

Block after block some longer prefixes are measured and the cheapest are kept. Which look best, and which are kept, is a
matter of what they have cost so far and of what the rest will cost from there on (the *cost to go*), as far as a table
of expected errors tells: a router's of the clip, or the mean of many clips. It measures as much of each block,
however many there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from evatok.assignment import Assignment, AssignmentSpace


class Growth(NamedTuple):
    """A prefix that is to be measured: which of the kept ones it continues, and with how many tokens."""

    parent: int
    level: int


class Measurer(Protocol):
    """Measures blocks of one clip, one block after the other."""

    def measure(self, growths: Sequence[Growth]) -> list[float]:
        """Error of the next block under each of these continuations of the prefixes that are kept."""

    def keep(self, places: Sequence[int]) -> None:
        """Goes on with some of the prefixes that were measured last, in this order."""


class Expected:
    """What blocks are expected to cost: the error of each under each prefix, `(prefixes,)`, numbered as `space` does.

    Longer clips than the space's are seen through a window: of a prefix its end, with as much ahead as then fits.

    Args:
        space: the assignments of a full clip.
        errors: of its prefixes.
    """

    def __init__(self, space: AssignmentSpace, errors: Tensor) -> None:
        self.space, self.errors = space, errors.double()
        self._togo: dict[tuple[float, int], Tensor] = {}

    def ahead(self, prefix: Assignment, blocks: int, price: float) -> tuple[float, float]:
        """The last block's error of a prefix of a clip of so many blocks, and the least cost of what follows it.

        Args:
            prefix: its lengths, one or more.
            blocks: of the clip.
            price: of a token, in units of a block's error.
        """
        seen, left = self._window(prefix, blocks)
        number = self.space.prefix(seen)
        return float(self.errors[number]), float(self._costs_to_go(price, left + len(seen))[number])

    def _window(self, prefix: Assignment, blocks: int) -> tuple[Assignment, int]:
        """What the table sees of a prefix, and how many blocks it sees ahead."""
        most, left = self.space.blocks, blocks - len(prefix)
        seen = min(len(prefix), max(most - left, (most + 1) // 2))
        return prefix[-seen:], min(left, most - seen)

    def _costs_to_go(self, price: float, blocks: int) -> Tensor:
        """Least cost from each prefix to the end of clips of so many blocks, at most the space's: `(prefixes,)`."""
        if (price, blocks) not in self._togo:
            starts, levels = self.space.prefix_starts, torch.tensor(self.space.levels, dtype=torch.float64)
            costs = torch.zeros_like(self.errors)
            for block in range(blocks - 1, 0, -1):
                after = slice(starts[block], starts[block + 1])
                steps = (self.errors[after] + costs[after]).unflatten(0, (-1, len(levels))) + price * levels
                costs[starts[block - 1] : starts[block]] = steps.amin(1)
            self._togo[price, blocks] = costs
        return self._togo[price, blocks]


@dataclass(frozen=True)
class Kept:
    """A prefix that a beam has kept.

    Args:
        lengths: tokens of its blocks.
        error: the sum of their errors.
    """

    lengths: Assignment
    error: float


@dataclass(frozen=True)
class Beam:
    """Searches a clip's lengths with the least sum of errors + `price` · tokens that it finds.

    Args:
        levels: tokens that a block may have.
        width: prefixes that are kept after each block, at least 1.
        price: of a token, in units of a block's error.
        expected: the cost to go; None: prefixes are ranked by what they have cost so far, and none is left out.
        tried: longer prefixes that are measured of each block, at most; None: `2 · width + 1`, which is worth most for
            the time, or without `expected` all.
    """

    levels: Sequence[int]
    width: int
    price: float
    expected: Expected | None = None
    tried: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.width, int) or self.width < 1:
            raise ValueError(f"beam must be a whole number of at least 1, got {self.width!r}")

    def run(self, measurer: Measurer, blocks: int) -> list[Kept]:
        """The prefixes of a clip of so many blocks that are kept at its end, the best first."""
        kept = [Kept((), 0.0)]
        for _ in range(blocks):
            growths = self._promising(kept, blocks)
            errors = measurer.measure(growths)
            grown = [
                Kept((*kept[parent].lengths, level), kept[parent].error + error)
                for (parent, level), error in zip(growths, errors, strict=True)
            ]
            costs = [self._cost(each) + self._ahead(each.lengths, blocks)[1] for each in grown]
            # Of equal ones the shorter, then the first of the enumeration.
            places = sorted(range(len(grown)), key=lambda at: (costs[at], sum(grown[at].lengths), grown[at].lengths))
            measurer.keep(places[: self.width])
            kept = [grown[place] for place in places[: self.width]]
        return kept

    def _promising(self, kept: Sequence[Kept], blocks: int) -> list[Growth]:
        """The continuations that are expected to cost the least, in the order of the kept ones and the levels."""
        growths = [Growth(parent, level) for parent in range(len(kept)) for level in self.levels]
        if self.expected is None:
            return growths
        tried = 2 * self.width + 1 if self.tried is None else self.tried

        def guess(growth: Growth) -> float:
            prefix = kept[growth.parent]
            return (
                self._cost(prefix)
                + self.price * growth.level
                + sum(self._ahead((*prefix.lengths, growth.level), blocks))
            )

        return sorted(sorted(growths, key=guess)[:tried])

    def _cost(self, prefix: Kept) -> float:
        return prefix.error + self.price * sum(prefix.lengths)

    def _ahead(self, lengths: Assignment, blocks: int) -> tuple[float, float]:
        return (0.0, 0.0) if self.expected is None else self.expected.ahead(lengths, blocks, self.price)


class OfTable:
    """Measures by looking up what a search has measured: errors of one clip's blocks under each prefix."""

    def __init__(self, space: AssignmentSpace, errors: Tensor) -> None:
        self._space, self._errors = space, errors
        self._kept: list[Assignment] = [()]
        self._grown: list[Assignment] = []
        self.blocks = 0  # measured so far

    def measure(self, growths: Sequence[Growth]) -> list[float]:
        """As `Measurer.measure` says."""
        self._grown = [(*self._kept[parent], level) for parent, level in growths]
        self.blocks += len(growths)
        return [float(self._errors[self._space.prefix(prefix)]) for prefix in self._grown]

    def keep(self, places: Sequence[int]) -> None:
        """As `Measurer.keep` says."""
        self._kept = [self._grown[place] for place in places]
