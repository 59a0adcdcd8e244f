"""Searched clips: their table, and their frames, which are read again from the sources and kept beside the table."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from evatok.search.table import SearchTable
from evatok.stages.search.parts import SearchConfig, open_clips
from evatok.stages.search.run import read_parts, read_table, searched_by
from evatok.utils.files import replacing

FRAMES = "frames"


class SearchedClips:
    """The clips of a finished search by the rows of its table.

    Frames are read once, and written into the search's folder as they are cut: 196 kB for 16 frames of 64×64. That goes
    on where it was stopped.

    Args:
        folder: of the search.

    Raises:
        ValueError: there is no finished search, or its sources cannot be opened.
        VideoError: a clip that was searched cannot be read any more.
    """

    def __init__(self, folder: Path) -> None:
        parts = read_parts(folder)
        self.table = read_table(folder)
        self.config: SearchConfig = searched_by(folder)
        self._starts = [0, *accumulate(len(part) for part in parts)]
        self._rows: Sequence[int] = range(len(self.table))
        (folder / FRAMES).mkdir(exist_ok=True)
        self._frames = _cached(folder / FRAMES, parts, self.config, self.table.made_by["frames"])

    def __len__(self) -> int:
        return len(self.table)

    def frames(self, row: int) -> Tensor:
        """Frames of a row of the table, uint8 `(F, 3, H, W)`."""
        row = self._rows[row]
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return torch.from_numpy(np.array(self._frames[part][row - self._starts[part]]))

    def only(self, rows: Sequence[int]) -> Self:
        """Some of these clips, in that order."""
        some = copy(self)
        some.table, some._rows = self.table.rows(list(rows)), [self._rows[row] for row in rows]
        return some

    def batches(self, size: int) -> Iterator[Tensor]:
        """All clips in the order of the table, `(up to size, F, 3, H, W)` uint8."""
        for rows in torch.arange(len(self)).split(size):
            yield torch.stack([self.frames(row) for row in rows.tolist()])


def _cached(folder: Path, parts: list[SearchTable], config: SearchConfig, frames: int) -> list[np.ndarray]:
    paths = [folder / f"part-{number:05d}.npy" for number in range(len(parts))]
    missing = [(path, part) for path, part in zip(paths, parts, strict=True) if not path.exists()]
    if missing:
        clips = open_clips(config, frames)
        with tqdm(total=sum(len(part) for _, part in missing), unit="clip", desc="reading searched clips") as bar:
            for path, part in missing:
                shape = (len(part), frames, 3, *config.size)
                with replacing(path) as temporary:
                    array = open_memmap(temporary, "w+", np.uint8, shape)
                    for row, place in enumerate(part.places):
                        array[row] = clips[place].video[0].numpy()
                        bar.update()
                    array.flush()
    return [np.load(path, mmap_mode="r") for path in paths]


@dataclass(frozen=True)
class SearchedBatch:
    """Searched clips with what was measured.

    Args:
        video: uint8 `(clips, frames, 3, h, w)`.
        values: LPIPS of each block under each prefix, `(clips, prefixes)` float32.
        keys: of the clips.
    """

    video: Tensor
    values: Tensor
    keys: list[str]

    def __len__(self) -> int:
        return len(self.keys)


class SearchedBatches(Dataset[SearchedBatch]):
    """An endless series of random batches of searched clips: item `i` is a function of the seed and `i` alone.

    Args:
        clips: the clips.
        size: clips of a batch, no clip twice.
        augment: probability of each change that leaves a clip's table nearly as it is (see `augmented`).
        seed: of everything random.
    """

    def __init__(self, clips: SearchedClips, size: int, augment: float, seed: int) -> None:
        self._clips, self._size, self._augment, self._seed = clips, min(size, len(clips)), augment, seed

    def __getitem__(self, index: int) -> SearchedBatch:
        rng = np.random.default_rng([self._seed, index])
        rows = rng.choice(len(self._clips), self._size, replace=False).tolist()
        video = [augmented(self._clips.frames(row), self._augment, rng) for row in rows]
        table = self._clips.table
        return SearchedBatch(torch.stack(video), table.lpips[rows], [table.keys[row] for row in rows])


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
