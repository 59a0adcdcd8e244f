"""Rules that pick an assignment for each clip from a table of its LPIPS under every assignment.

A table is `(clips, len(space))`, measured by the search or predicted by a router: any rule works with any. A prefix
fixes the lengths of the first blocks. Of equally good assignments the one with fewer tokens is picked, then the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from evatok.assignment import AssignmentSpace


class Rule(Protocol):
    """Picks an assignment for each clip."""

    def pick(self, table: Tensor, space: AssignmentSpace, prefix: Sequence[int] = ()) -> Tensor:
        """Indices `(clips,)` int64 of the assignments picked, all of which begin with `prefix`."""


@dataclass(frozen=True)
class Price:
    """The assignment with the least LPIPS + `price` · tokens: a reward, or a budget, as one number."""

    price: float

    def pick(self, table: Tensor, space: AssignmentSpace, prefix: Sequence[int] = ()) -> Tensor:
        """As `Rule.pick` says."""
        return _least(_checked(table, space) + self.price * space.costs, space, prefix)


@dataclass(frozen=True)
class Threshold:
    """The shortest assignment with an LPIPS of at most `lpips`; the longest where there is none (ElasticTok's idea)."""

    lpips: float

    def pick(self, table: Tensor, space: AssignmentSpace, prefix: Sequence[int] = ()) -> Tensor:
        """As `Rule.pick` says. Of equally short ones, that with the least LPIPS."""
        table = _checked(table, space)
        good = table <= self.lpips
        # LPIPS orders equal lengths, and never outweighs a token.
        cost = space.costs + table / (table.amax() + 1)
        cost = torch.where(good, cost, torch.inf)
        allowed = _allowed(space, prefix)
        longest = allowed[space.costs[allowed].argmax()]
        picked = _least(cost, space, prefix)
        return torch.where(good[:, allowed].any(1), picked, longest)


@dataclass(frozen=True)
class Uniform:
    """`level` tokens for every block that the prefix leaves open."""

    level: int

    def pick(self, table: Tensor, space: AssignmentSpace, prefix: Sequence[int] = ()) -> Tensor:
        """As `Rule.pick` says."""
        index = space.index((*prefix, *(self.level,) * (space.blocks - len(prefix))))
        return torch.full((len(table),), index)


@dataclass(frozen=True)
class Random:
    """Any assignment, each as likely as another; a function of the seed and of a clip's place in the table."""

    seed: int = 0

    def pick(self, table: Tensor, space: AssignmentSpace, prefix: Sequence[int] = ()) -> Tensor:
        """As `Rule.pick` says."""
        allowed = _allowed(space, prefix)
        generator = torch.Generator().manual_seed(self.seed)
        return allowed[torch.randint(len(allowed), (len(table),), generator=generator)]


def _allowed(space: AssignmentSpace, prefix: Sequence[int]) -> Tensor:
    """Indices of the assignments that begin with a prefix."""
    indices = space.with_prefix(prefix)
    return torch.arange(indices.start, indices.stop)


def _checked(table: Tensor, space: AssignmentSpace) -> Tensor:
    """The table in float64; ValueError if it is not one of this space."""
    if table.ndim != 2 or table.shape[1] != len(space):
        raise ValueError(f"a table of this space is (clips, {len(space)}), got {tuple(table.shape)}")
    return table.double()


def _least(cost: Tensor, space: AssignmentSpace, prefix: Sequence[int]) -> Tensor:
    """Index of the least cost of each row; of equal ones the shortest assignment, then the first."""
    allowed = _allowed(space, prefix)
    by_length = allowed[space.costs[allowed].argsort(stable=True)]
    return by_length[cost[:, by_length].argmin(1)]
