"""Searched clips: their table and their frames."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from evatok.stages.search.folder import read_plan, read_table
from evatok.stages.search.parts import frames_file


class SearchedClips:
    """The clips of a finished search by the rows of its table.

    Args:
        folder: of the search.

    Raises:
        ValueError: there is no finished search.
    """

    def __init__(self, folder: Path) -> None:
        self.table = read_table(folder)
        self._frames = [np.load(frames_file(part), mmap_mode="r") for part in read_plan(folder).parts(folder)]
        self._starts = [0, *accumulate(map(len, self._frames))]
        self._rows: Sequence[int] = range(len(self.table))

    def __len__(self) -> int:
        return len(self.table)

    def frames(self, row: int) -> Tensor:
        """Frames of a row of the table, uint8 `(F, 3, H, W)`."""
        row = self._rows[row]
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return torch.from_numpy(np.array(self._frames[part][row - self._starts[part]]))

    @property
    def whole(self) -> Self:
        """Those clips that were measured under every prefix."""
        return self.only(self.table.lpips.isfinite().all(1).nonzero()[:, 0].tolist())

    def only(self, rows: Sequence[int]) -> Self:
        """Some of these clips, in that order."""
        some = copy(self)
        some.table, some._rows = self.table.rows(list(rows)), [self._rows[row] for row in rows]
        return some

    def batches(self, size: int) -> Iterator[Tensor]:
        """All clips in the order of the table, `(up to size, F, 3, H, W)` uint8."""
        for rows in torch.arange(len(self)).split(size):
            yield torch.stack([self.frames(row) for row in rows.tolist()])


@dataclass(frozen=True)
class SearchedBatch:
    """Searched clips with what was measured.

    Args:
        video: uint8 `(clips, frames, 3, h, w)`.
        values: LPIPS of each block under each prefix, `(clips, prefixes)` float32, NaN where it was not measured.
        keys: of the clips.
        rows: of the clips among those that the batch is drawn from.
    """

    video: Tensor
    values: Tensor
    keys: list[str]
    rows: list[int]

    def __len__(self) -> int:
        return len(self.keys)


class SearchedBatches(Dataset[SearchedBatch]):
    """An endless series of random batches of searched clips: item `i` is a function of the seed and `i` alone.

    Args:
        clips: the clips.
        size: clips of a batch, no clip twice; where there are fewer, all of them.
        augment: probability of each change that leaves a clip's table nearly as it is (see `augmented`).
        seed: of everything random.
    """

    def __init__(self, clips: SearchedClips, size: int, augment: float, seed: int) -> None:
        self._clips, self._augment, self._seed = clips, augment, seed
        self.size = min(size, len(clips))

    def __getitem__(self, index: int) -> SearchedBatch:
        rng = np.random.default_rng([self._seed, index])
        rows = rng.choice(len(self._clips), self.size, replace=False).tolist()
        video = [augmented(self._clips.frames(row), self._augment, rng) for row in rows]
        table = self._clips.table
        return SearchedBatch(torch.stack(video), table.lpips[rows], [table.keys[row] for row in rows], rows)


def augmented(frames: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    """Frames `(F, 3, H, W)` uint8 with the same edges and motion: mirrored, upside down, other colours, a negative.

    Each happens with that probability. A router that has few clips would else learn them by heart.
    """
    mirrored, turned, coloured, negative = rng.random(4) < probability
    order = torch.from_numpy(rng.permutation(3))
    if coloured:
        frames = frames[:, order]
    frames = frames.flip([axis for axis, flips in ((-1, mirrored), (-2, turned)) if flips])
    return 255 - frames if negative else frames
