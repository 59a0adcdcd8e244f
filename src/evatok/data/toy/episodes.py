"""Rendered episodes as videos: an episode is a function of its class and seed, played when first asked for and kept.

Screens are kept as palette indices and compressed, so that the episodes of a training run fit in memory.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evatok.data.clip_source import ClipSource, VideoEntry, check_range

CHUNK = 16  # frames compressed together
CACHE_BYTES = 512 * 2**20  # compressed episodes that a source keeps, least recently used first to go

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
        screens: palette indices, uint8 (frames, H, W).
        palette: colours, uint8 (256, 3).
        pack: makes bytes of at most `CHUNK` screens.
        unpack: the screens back from them.
    """

    def __init__(self, screens: Screens, palette: NDArray[np.uint8], pack: Pack, unpack: Unpack) -> None:
        self._palette = palette
        self._unpack = unpack
        self._chunks = [pack(screens[at : at + CHUNK]) for at in range(0, len(screens), CHUNK)]
        self.nbytes = sum(len(chunk) for chunk in self._chunks) + palette.nbytes

    def frames(self, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ...: uint8 (count, 3, H, W)."""
        first, last = start // CHUNK, (start + (count - 1) * step) // CHUNK
        screens = np.concatenate([self._unpack(chunk) for chunk in self._chunks[first : last + 1]])
        picked = screens[start - first * CHUNK :: step][:count]
        return torch.from_numpy(np.stack([channel[picked] for channel in self._palette.T], axis=1))


class EpisodeSource(ClipSource):
    """Episodes class by class: all seeds of the first, then of the second.

    Args:
        name: of the source.
        kind: what identities of its episodes begin with.
        classes: their names.
        seeds: first seed and the one after the last.
        frames: length of every episode.
        size: (height, width) of its frames.
        play: the episode of a class's name, a seed and a length.
    """

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        classes: Iterable[str],
        seeds: tuple[int, int],
        frames: int,
        size: tuple[int, int],
        play: Callable[[str, int, int], Episode],
    ) -> None:
        self.name = name
        self.classes = tuple(classes)
        self._kind = kind
        self._seeds = range(*seeds)
        self._frames = frames
        self._size = size
        self._play = play
        self._cache: OrderedDict[int, Episode] = OrderedDict()
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.classes) * len(self._seeds)

    def describe(self, index: int) -> VideoEntry:
        """Episode `index`; its key is "class/seed"."""
        label, seed = self._label_and_seed(index)
        return VideoEntry(f"{self.classes[label]}/{seed}", label=label, frames=self._frames, size=self._size)

    def identities(self, index: int) -> tuple[str, ...]:
        """Class and seed, whatever the length."""
        return (f"{self._kind}:{self.describe(index).key}",)

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of episode `index`: uint8 (count, 3, H, W)."""
        check_range(self.describe(index), start, count, step)
        return self._episode(index).frames(start, count, step)

    def _label_and_seed(self, index: int) -> tuple[int, int]:
        label, offset = divmod(range(len(self))[index], len(self._seeds))
        return label, self._seeds[offset]

    def _episode(self, index: int) -> Episode:
        """The episode, played now or kept from an earlier read."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        label, seed = self._label_and_seed(index)
        episode = self._play(self.classes[label], seed, self._frames)
        self._cache[index] = episode
        self._cached_bytes += episode.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return episode
