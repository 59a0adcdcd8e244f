"""A clip's own quality-cost curve: its LPIPS under every assignment, and where each strategy lies among them."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from evatok.allocation.beam import Beam, Expected, OfTable
from evatok.allocation.predictors import blocks_of, table_of
from evatok.app.comparing import Models
from evatok.assignment import Assignment
from evatok.search.walk import search_clips
from evatok.video.fit import fill_blocks, to_bytes

BEAM = 2


class Point(NamedTuple):
    """An assignment, its tokens, and the clip's LPIPS under it."""

    assignment: Assignment
    tokens: int
    lpips: float


class ClipCurve:
    """One clip under every assignment, measured part by part.

    Args:
        models: the tokenizer with its router, and LPIPS.
        clip: `(1, F, 3, h, w)` float32 in [-1, 1], of 1 frame up to a full clip.
    """

    def __init__(self, models: Models, clip: Tensor) -> None:
        config = models.tokenizer.config
        self._models, self._clip = models, clip
        self._filled = to_bytes(fill_blocks(clip, config.block_frames))
        self._space = config.space.of_blocks(blocks_of(clip, config.block_frames))
        self._values = torch.full((self._space.prefix_starts[-1],), torch.nan)

    @property
    def lpips(self) -> Tensor:
        """Of each assignment, `(assignments,)`; NaN where it has not been measured yet."""
        return table_of(self._values[None], self._space)[0]

    @property
    def whole(self) -> bool:
        """Whether every assignment has been measured."""
        return not self._values.isnan().any()

    @property
    def size(self) -> int:
        """Number of the assignments."""
        return len(self._space)

    def measure(self) -> Iterator[None]:
        """Measures what has not been measured, and pauses after the assignments of each first length."""
        for level in self._space.levels:
            wanted = [self._space.assignment(index) for index in self._space.with_prefix((level,))]
            if self.lpips[self._space.with_prefix((level,)).start].isnan():
                found = search_clips(self._models.tokenizer, self._filled, self._models.lpips, wanted=[wanted]).lpips[0]
                self._values = torch.where(found.isnan(), self._values, found)
                yield

    def measured(self) -> list[Point]:
        """All assignments that have been measured."""
        known = self.lpips.isfinite().nonzero()[:, 0].tolist()
        return [self._point(self._space.assignment(index)) for index in known]

    def uniform(self) -> list[Point]:
        """Every uniform length; once the curve is whole."""
        return [self._point((level,) * self._space.blocks) for level in self._space.levels]

    def chosen(self, w_q: float) -> dict[str, Point]:
        """What each strategy picks of the clip at the price of a preference, by name; once the curve is whole."""
        router, values, space = self._models.router, self._values, self._space
        price = router.price(w_q)
        expected = router.values(self._clip)
        assert expected is not None
        # To a clip of fewer blocks a token costs as much, so it is the errors' sum that counts, as in `Router.pick`.
        beam = Beam(space.levels, BEAM, self._models.tokenizer.config.blocks * price, Expected(space, expected[0]))
        picked = {
            "search": router.pick_from(table_of(values[None], space), price)[0].tolist(),
            f"beam {BEAM}": beam.run(OfTable(space, values), space.blocks)[0].lengths,
            "router": router.pick(self._clip, price)[0].tolist(),
            "best fixed": router.pick_from(table_of(self._models.mean_values[None], space), price)[0].tolist(),
        }
        return {name: self._point(tuple(lengths)) for name, lengths in picked.items()}

    def _point(self, assignment: Assignment) -> Point:
        return Point(assignment, sum(assignment), float(self.lpips[self._space.index(assignment)]))
