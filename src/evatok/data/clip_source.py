"""What a source of clips is: numbered videos of which any run of frames can be asked for."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from evatok.data.quarantine import Quarantine
from evatok.video.sources import unreadable


@dataclass(frozen=True)
class VideoEntry:
    """One video of a source: its name there, its class (-1: none), its frames and its (height, width)."""

    key: str
    label: int
    frames: int
    size: tuple[int, int]


@dataclass(frozen=True)
class SourceConfig(ABC):
    """What the configs of sources derive from. A source's first value says by its name which kind it is."""

    @property
    @abstractmethod
    def weight(self) -> float:
        """Share of training clips, relative to the other sources' weights."""


class ClipSource(ABC):
    """Numbered videos, described without reading them. The same frames come out whenever they are read.

    Args:
        name: short, for logs, keys and tables; differs between the sources of a run.
        classes: names of the classes that `VideoEntry.label` counts; empty where there are none.
        fps: frames per second of the videos, their median where they differ; None where they have none of their own.
        quarantines: where videos are noted that cannot be read after all; none where every one can.
    """

    name: str
    classes: tuple[str, ...]
    fps: float | None = None
    quarantines: Sequence[Quarantine] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Number of videos."""

    @abstractmethod
    def describe(self, index: int) -> VideoEntry:
        """What is known of video `index` without reading it."""

    def lengths(self) -> NDArray[np.int64]:
        """Frames of each video."""
        return np.array([self.describe(index).frames for index in range(len(self))], np.int64)

    @abstractmethod
    def identities(self, index: int) -> tuple[str, ...]:
        """What names video `index` whatever the source: two videos that share one of these are the same."""

    def candidates(self, names: Set[str]) -> Iterable[int]:
        """Videos among which are all that have one of these identities, in order: all, unless a source knows better."""
        return range(len(self))

    @abstractmethod
    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of video `index`: uint8 (count, 3, H, W).

        Raises:
            VideoError: these frames cannot be read; other clips of the source may well be.
        """


def check_weight(weight: float) -> None:
    """Raise ValueError unless `weight` may be a source's share of the training clips."""
    if not weight > 0:
        raise ValueError(f"weight of a source must be greater than 0, not {weight}")


def check_range(entry: VideoEntry, start: int, count: int, step: int) -> None:
    """Raise ValueError unless `count` frames from `start` on, `step` apart, lie within the video."""
    if start < 0 or count < 1 or step < 1 or start + (count - 1) * step >= entry.frames:
        raise ValueError(
            f"{entry.key} has {entry.frames} frames: cannot give {count} from frame {start} on, {step} apart"
        )


def check_size(video: Tensor, entry: VideoEntry, path: object) -> Tensor:
    """The frames of a video, whose pictures are as large as its first one; VideoError if they have changed by then."""
    if tuple(video.shape[-2:]) != entry.size:
        (height, width), (first_height, first_width) = video.shape[-2:], entry.size
        reason = f"its pictures change from {first_width}x{first_height} to {width}x{height} pixels"
        raise unreadable(path, reason)
    return video
