"""Levels and assignments: the one place that knows how an assignment, its index and its cost correspond.

A clip has `blocks` temporal blocks; each block gets a number of tokens out of `levels`. The tuple of these numbers
is an *assignment*; its cost is their sum. An `AssignmentSpace` enumerates all `len(levels) ** blocks` of them in
lexicographic order of the levels, so assignments that share a prefix have consecutive indices (paper, section 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Self

import torch
from torch import Tensor

Assignment = tuple[int, ...]


class AssignmentError(ValueError):
    """An assignment, level or prefix that the space does not have."""


# What models are made for at most, so that a config's numbers cannot ask for more than any machine has.
MOST_LEVELS, MOST_BLOCKS, MOST_TOKENS, MOST_ASSIGNMENTS = 256, 256, 2**16, 2**20


@dataclass(frozen=True)
class AssignmentSpace:
    """All assignments of `blocks` blocks to `levels`.

    Args:
        levels: possible token counts of a block, strictly increasing positive integers.
        blocks: number of blocks of a full clip, at least 1.

    Raises:
        AssignmentError: if the levels are not strictly increasing positive integers or `blocks` is below 1.
    """

    levels: tuple[int, ...]
    blocks: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        positive = all(isinstance(level, int) and level > 0 for level in self.levels)
        if not self.levels or not positive or list(self.levels) != sorted(set(self.levels)):
            raise AssignmentError(f"levels must be strictly increasing positive integers, got {self.levels}")
        if self.blocks < 1:
            raise AssignmentError(f"blocks must be at least 1, got {self.blocks}")

    @classmethod
    def of_model(cls, levels: Sequence[int], blocks: int) -> Self:
        """Those that a model of these levels and blocks chooses from; AssignmentError for more than can be listed."""
        if len(levels) > MOST_LEVELS or blocks > MOST_BLOCKS:
            came = f"{len(levels)} levels and {blocks!s:.80} blocks"
            raise AssignmentError(f"a model has at most {MOST_LEVELS} levels and {MOST_BLOCKS} blocks, got {came}")
        space = cls(tuple(levels), blocks)
        if space.levels[-1] > MOST_TOKENS or len(levels) ** blocks > MOST_ASSIGNMENTS:
            raise AssignmentError(
                f"levels are at most {MOST_TOKENS} and make at most {MOST_ASSIGNMENTS} assignments of all blocks, got "
                f"{len(levels)} to {space.levels[-1]!s:.80} for {blocks} blocks"
            )
        return space

    def __len__(self) -> int:
        return len(self.levels) ** self.blocks

    def __contains__(self, assignment: Sequence[int]) -> bool:
        return len(assignment) == self.blocks and all(k in self.levels for k in assignment)

    def check(self, assignment: Sequence[int]) -> Assignment:
        """The assignment as a tuple, if it is one of a clip of 1 to `blocks` blocks; else `AssignmentError`."""
        if not 1 <= len(assignment) <= self.blocks:
            raise AssignmentError(f"an assignment has 1 to {self.blocks} blocks, got {len(assignment)}: {assignment}")
        for block, k in enumerate(assignment):
            if k not in self.levels:
                raise AssignmentError(f"block {block} of {tuple(assignment)} has {k} tokens; levels are {self.levels}")
        return tuple(int(k) for k in assignment)

    def index(self, assignment: Sequence[int]) -> int:
        """Place of a full assignment in the enumeration, 0 to `len(self) - 1`."""
        if len(assignment) != self.blocks:
            raise AssignmentError(f"a full assignment has {self.blocks} blocks, got {len(assignment)}: {assignment}")
        return self.with_prefix(assignment).start

    def assignment(self, index: int) -> Assignment:
        """The assignment at a place of the enumeration; the inverse of `index`."""
        if not 0 <= index < len(self):
            raise AssignmentError(f"an index is 0 to {len(self) - 1}, got {index}")
        digits = []
        for _ in range(self.blocks):
            index, digit = divmod(index, len(self.levels))
            digits.append(self.levels[digit])
        return tuple(reversed(digits))

    @cached_property
    def lengths(self) -> Tensor:
        """Every assignment, `(len(self), blocks)` int64, row `i` being `assignment(i)`."""
        choices = [torch.tensor(self.levels, device="cpu")] * self.blocks
        return torch.cartesian_prod(*choices).view(len(self), self.blocks)

    @property
    def costs(self) -> Tensor:
        """Tokens of every assignment, `(len(self),)` int64."""
        return self.lengths.sum(1)

    def of_blocks(self, blocks: int) -> "AssignmentSpace":
        """The assignments of clips of that many blocks, 1 to `self.blocks`; their prefixes have the same numbers."""
        if not 1 <= blocks <= self.blocks:
            raise AssignmentError(f"a clip has 1 to {self.blocks} blocks, got {blocks}")
        return self if blocks == self.blocks else AssignmentSpace(self.levels, blocks)

    def uniform(self, level: int, blocks: int | None = None) -> Assignment:
        """The assignment that gives every block `level` tokens; `blocks` if the clip is shorter than a full one."""
        return self.check((level,) * (self.blocks if blocks is None else blocks))

    def with_prefix(self, prefix: Sequence[int]) -> range:
        """Indices of all full assignments that begin with `prefix` (which may be empty or full)."""
        first = 0
        for k in self.check(prefix) if len(prefix) else ():
            first = first * len(self.levels) + self.levels.index(k)
        count = len(self.levels) ** (self.blocks - len(prefix))
        return range(first * count, (first + 1) * count)

    @cached_property
    def prefix_starts(self) -> tuple[int, ...]:
        """Where the prefixes of 1, 2, ... blocks begin among all prefixes, and at the end the number of prefixes.

        Prefixes are numbered by length, within a length in the order of the enumeration: 5 + 25 + 125 + 625 of them
        for five levels and four blocks.
        """
        return tuple(accumulate((len(self.levels) ** (t + 1) for t in range(self.blocks)), initial=0))

    def prefix(self, prefix: Sequence[int]) -> int:
        """Number of a prefix of 1 to `blocks` blocks among all prefixes."""
        within = self.with_prefix(prefix).start // len(self.levels) ** (self.blocks - len(prefix))
        return self.prefix_starts[len(self.check(prefix)) - 1] + within

    @cached_property
    def prefixes(self) -> Tensor:
        """Number of the prefix of 1, 2, ... blocks of every assignment, `(len(self), blocks)` int64."""
        index = torch.arange(len(self), device="cpu")[:, None]
        shorter = len(self.levels) ** torch.arange(self.blocks - 1, -1, -1, device="cpu")
        return torch.tensor(self.prefix_starts[:-1], device="cpu") + index // shorter

    def sample(self, generator: torch.Generator, count: int | None = None) -> Tensor:
        """Uniformly random assignments: `(blocks,)` int64, or `(count, blocks)`."""
        index = torch.randint(len(self), () if count is None else (count,), generator=generator)
        return self.lengths[index]
