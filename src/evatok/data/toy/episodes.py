"""Rendered episodes as videos: an episode is a function of its class and seed, played when first asked for and kept.

Screens are kept as palette indices and compressed, so that the episodes of a training run fit in memory. What one of a
loader's processes has played the others read: else each would play everything, which takes minutes.
"""

import logging
import multiprocessing
import os
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evatok.data.clip_source import ClipSource, VideoEntry, check_range
from evatok.data.recent import Recent
from evatok.utils.files import replacing

logger = logging.getLogger(__name__)

CHUNK = 16  # frames compressed together
CACHE_BYTES = 512 * 2**20  # compressed episodes that a source keeps, least recently used first to go
_LEFT = 2 * 24 * 3600  # seconds after its last episode at which a shared folder counts as left behind

Screens = NDArray[np.uint8]
Pack = Callable[[Screens], bytes]
Unpack = Callable[[bytes], Screens]


def check_episodes(seeds: tuple[int, int], frames: int) -> None:
    """Raise ValueError unless these are a first seed and the one after the last, and a number of frames."""
    first, after = seeds
    if not 0 <= first < after:
        raise ValueError(f"seeds are the first and the one after the last, in order, not {seeds}")
    if frames < 1:
        raise ValueError(f"frames must be at least 1, not {frames}")


def chosen(wanted: str | Iterable[str], known: Collection[str], what: str) -> list[str]:
    """The names that are wanted, all that are known for "all"; ValueError names those that are not known."""
    names = list(known) if wanted == "all" else list(wanted)
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"unknown {what} {', '.join(unknown)}; there are {', '.join(known)}")
    return names


class Episode:
    """The frames of an episode, compressed `CHUNK` at a time.

    Args:
        chunks: of the screens.
        palette: colours, uint8 (256, 3).
        unpack: screens of a chunk, palette indices, uint8 (up to `CHUNK`, H, W).
    """

    def __init__(self, chunks: list[bytes], palette: NDArray[np.uint8], unpack: Unpack) -> None:
        self._chunks, self._palette, self._unpack = chunks, palette, unpack
        self.nbytes = sum(map(len, chunks)) + palette.nbytes

    @classmethod
    def of(cls, screens: Screens, palette: NDArray[np.uint8], pack: Pack, unpack: Unpack) -> Self:
        """The episode of screens `(frames, H, W)` uint8; `pack` makes bytes of at most `CHUNK` of them."""
        return cls([pack(screens[at : at + CHUNK]) for at in range(0, len(screens), CHUNK)], palette, unpack)

    def save(self, path: Path) -> None:
        """Writes the episode, whole or not at all."""
        ends = np.cumsum([0, *map(len, self._chunks)])
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, ends=ends, packed=np.frombuffer(b"".join(self._chunks), np.uint8), palette=self._palette)

    @classmethod
    def load(cls, path: Path, unpack: Unpack) -> Self:
        """The episode that `save` wrote."""
        with np.load(path) as file:
            packed, ends, palette = file["packed"].tobytes(), file["ends"].tolist(), file["palette"]
        return cls([packed[start:end] for start, end in pairwise(ends)], palette, unpack)

    def frames(self, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ...: uint8 (count, 3, H, W)."""
        first, last = start // CHUNK, (start + (count - 1) * step) // CHUNK
        screens = np.concatenate([self._unpack(chunk) for chunk in self._chunks[first : last + 1]])
        picked = screens[start - first * CHUNK :: step][:count]
        return torch.from_numpy(np.stack([channel[picked] for channel in self._palette.T], axis=1))


class EpisodeSource(ClipSource):
    """Episodes class by class: all seeds of the first, then of the second.

    A class that cannot be played is left out and reported in `skipped`.

    Args:
        name: of the source, with which identities of its episodes begin.
        why_not: the classes' names, each with why it cannot be played, "" if it can.
        seeds: first seed and the one after the last.
        frames: length of every episode.
        fps: frames per second of every episode.
        size: (height, width) of its frames.
        play: the episode of a class's name, a seed and a length.
        unpack: of these episodes.

    Raises:
        ValueError: none can be played.
    """

    def __init__(
        self,
        *,
        name: str,
        why_not: Mapping[str, str],
        seeds: tuple[int, int],
        frames: int,
        fps: float,
        size: tuple[int, int],
        play: Callable[[str, int, int], Episode],
        unpack: Unpack,
    ) -> None:
        self.name = name
        self.classes = tuple(each for each, reason in why_not.items() if not reason)
        self.skipped = {each: reason for each, reason in why_not.items() if reason}
        if self.skipped:
            logger.warning("%s: skipped %d of %d: %s", name, len(self.skipped), len(why_not), self.skipped)
        if not self.classes:
            raise ValueError(f"none of the classes of {name} can be played: {self.skipped}")
        self._seeds = range(*seeds)
        self._frames, self._fps = frames, fps
        self._size = size
        self._play, self._unpack = play, unpack
        self._episodes = Recent(self._played, CACHE_BYTES)
        # Made by the first of the processes that inherit its name, and removed with the source that gave it.
        self._shared = Path(tempfile.gettempdir(), f"evatok-{name}-{os.getpid()}-{secrets.token_hex(4)}")
        weakref.finalize(self, _remove, self._shared, os.getpid())

    @property
    def fps(self) -> float:
        """As `ClipSource.fps` says."""
        return self._fps

    def __len__(self) -> int:
        return len(self.classes) * len(self._seeds)

    def describe(self, index: int) -> VideoEntry:
        """Episode `index`; its key is "class/seed"."""
        label, seed = self._label_and_seed(index)
        return VideoEntry(f"{self.classes[label]}/{seed}", label=label, frames=self._frames, size=self._size)

    def identities(self, index: int) -> tuple[str, ...]:
        """Class and seed, whatever the length."""
        return (f"{self.name}:{self.describe(index).key}",)

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of episode `index`: uint8 (count, 3, H, W)."""
        check_range(self.describe(index), start, count, step)
        return self._episodes[index].frames(start, count, step)

    def _label_and_seed(self, index: int) -> tuple[int, int]:
        label, offset = divmod(range(len(self))[index], len(self._seeds))
        return label, self._seeds[offset]

    def _played(self, index: int) -> Episode:
        if multiprocessing.parent_process() is None:
            return self._played_here(index)
        path = self._shared / f"{index}.npz"
        # To share is to be quicker, no more: without room for it each process plays for itself.
        with suppress(OSError):
            return Episode.load(path, self._unpack)
        episode = self._played_here(index)
        with suppress(OSError):
            if not path.parent.exists():
                _remove_left(path.parent)
                path.parent.mkdir(exist_ok=True)
            episode.save(path)
        return episode

    def _played_here(self, index: int) -> Episode:
        label, seed = self._label_and_seed(index)
        return self._play(self.classes[label], seed, self._frames)


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left(folder: Path) -> None:
    """Removes what processes left that were killed, beside a shared folder of the same source."""
    kind = folder.name.rsplit("-", 2)[0]
    for other in folder.parent.glob(f"{kind}-*-*"):
        if time.time() - other.stat().st_mtime > _LEFT:
            shutil.rmtree(other, ignore_errors=True)
