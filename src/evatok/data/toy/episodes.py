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
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
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
Palette = NDArray[np.uint8]


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


@dataclass(frozen=True)
class Episode:
    """What is kept of an episode: its screens, compressed `CHUNK` at a time, and their colours, uint8 (256, 3)."""

    chunks: list[bytes]
    palette: Palette

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return sum(map(len, self.chunks)) + self.palette.nbytes

    def save(self, path: Path) -> None:
        """Writes the episode, whole or not at all."""
        ends = np.cumsum([0, *map(len, self.chunks)])
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, ends=ends, packed=np.frombuffer(b"".join(self.chunks), np.uint8), palette=self.palette)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The episode that `save` wrote."""
        with np.load(path) as file:
            packed, ends, palette = file["packed"].tobytes(), file["ends"].tolist(), file["palette"]
        return cls([packed[start:end] for start, end in pairwise(ends)], palette)


class EpisodeSource(ClipSource):
    """Episodes class by class: all seeds of the first, then of the second.

    A class that cannot be played is left out. `name` begins the identities of the episodes, `size` is that of their
    frames.

    Args:
        why_not: the classes' names, each with why it cannot be played, "" if it can.
        seeds: first seed and the one after the last.
        frames: length of every episode.

    Raises:
        ValueError: none can be played.
    """

    fps: float
    size: tuple[int, int]

    def __init__(self, why_not: Mapping[str, str], seeds: tuple[int, int], frames: int) -> None:
        self.classes = tuple(each for each, reason in why_not.items() if not reason)
        skipped = {each: reason for each, reason in why_not.items() if reason}
        if skipped:
            logger.warning("%s: skipped %d of %d: %s", self.name, len(skipped), len(why_not), skipped)
        if not self.classes:
            raise ValueError(f"none of the classes of {self.name} can be played: {skipped}")
        self._seeds = range(*seeds)
        self._frames = frames
        self._episodes = Recent(self._played, CACHE_BYTES)
        # Made by the first of the processes that inherit its name, and removed with the source that gave it.
        self._shared = Path(tempfile.gettempdir(), f"evatok-{self.name}-{os.getpid()}-{secrets.token_hex(4)}")
        weakref.finalize(self, _remove, self._shared, os.getpid())

    @abstractmethod
    def play(self, name: str, seed: int, frames: int) -> tuple[Screens, Palette]:
        """The episode of a class and a seed: palette indices, uint8 (frames, height, width), and their colours."""

    @staticmethod
    @abstractmethod
    def pack(screens: Screens) -> bytes:
        """Screens, up to `CHUNK`, compressed."""

    @staticmethod
    @abstractmethod
    def unpack(chunk: bytes) -> Screens:
        """The screens that `pack` compressed."""

    def __len__(self) -> int:
        return len(self.classes) * len(self._seeds)

    def describe(self, index: int) -> VideoEntry:
        """Episode `index`; its key is "class/seed"."""
        label, seed = self._label_and_seed(index)
        return VideoEntry(f"{self.classes[label]}/{seed}", label=label, frames=self._frames, size=self.size)

    def identities(self, index: int) -> tuple[str, ...]:
        """Class and seed, whatever the length."""
        return (f"{self.name}:{self.describe(index).key}",)

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of episode `index`: uint8 (count, 3, H, W)."""
        check_range(self.describe(index), start, count, step)
        episode = self._episodes[index]
        first, last = start // CHUNK, (start + (count - 1) * step) // CHUNK
        screens = np.concatenate([self.unpack(chunk) for chunk in episode.chunks[first : last + 1]])
        picked = screens[start - first * CHUNK :: step][:count]
        return torch.from_numpy(np.stack([channel[picked] for channel in episode.palette.T], axis=1))

    def _label_and_seed(self, index: int) -> tuple[int, int]:
        label, offset = divmod(range(len(self))[index], len(self._seeds))
        return label, self._seeds[offset]

    def _played(self, index: int) -> Episode:
        if multiprocessing.parent_process() is None:
            return self._played_here(index)
        path = self._shared / f"{index}.npz"
        # To share is to be quicker, no more: without room for it each process plays for itself.
        with suppress(OSError):
            return Episode.load(path)
        episode = self._played_here(index)
        with suppress(OSError):
            if not path.parent.exists():
                _remove_left(path.parent)
                path.parent.mkdir(exist_ok=True)
            episode.save(path)
        return episode

    def _played_here(self, index: int) -> Episode:
        label, seed = self._label_and_seed(index)
        screens, palette = self.play(self.classes[label], seed, self._frames)
        return Episode([self.pack(screens[at : at + CHUNK]) for at in range(0, len(screens), CHUNK)], palette)


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left(folder: Path) -> None:
    """Removes what processes left that were killed, beside a shared folder of the same source."""
    kind = folder.name.rsplit("-", 2)[0]
    for other in folder.parent.glob(f"{kind}-*-*"):
        if time.time() - other.stat().st_mtime > _LEFT:
            shutil.rmtree(other, ignore_errors=True)
