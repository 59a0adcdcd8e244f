"""What scenes are filmed over: pictures, which stand still, and videos, which move."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from evatok.data.folders import look_at
from evatok.data.listing import PICTURE_SUFFIXES, VIDEO_SUFFIXES, files_of
from evatok.data.quarantine import Quarantine, SkippedVideo
from evatok.data.recent import Recent
from evatok.data.scenes.pictures import read_picture, shrunk
from evatok.utils.ranks import by_one
from evatok.video.reading import VideoError, read_clip

PICTURE_SHORT = 320  # shorter side to which larger pictures are shrunk, so that views hardly alias
VIDEO_SHORT = 240  # the same of videos, which are looked at from less near
CACHE_BYTES = 192 * 2**20  # decoded pictures kept


@dataclass(frozen=True)
class Ground:
    """A file that scenes are filmed over: where it is, by which path within the folder, its (height, width) as read,
    and its frames if it is moving.
    """

    path: Path
    key: str
    size: tuple[int, int]
    frames: int = 1
    moving: bool = False


class Grounds:
    """The usable pictures and videos of a folder, its subfolders included, each looked at once: they are in `files`.

    Args:
        root: the folder.
        name: of the source, for messages.
        max_bad: share of the files that may be bad.

    Raises:
        ValueError: the folder does not exist or has no usable file.
        TooManyBadVideos: more than `max_bad` are bad, now or after a later read.
    """

    def __init__(self, root: Path, name: str, max_bad: float) -> None:
        self._root = root
        found = by_one(self._look_at_all)
        if not found:
            raise ValueError(f"no pictures or videos in {root}")
        skipped = tuple(item for item in found if isinstance(item, SkippedVideo))
        self.bad = Quarantine(name, str(root), len(found), skipped, max_bad)
        self.files = [item for item in found if isinstance(item, Ground)]
        self._pictures = Recent(partial(read_picture, short=PICTURE_SHORT), CACHE_BYTES)

    def read(self, number: int, moments: NDArray[np.int64]) -> Tensor:
        """Frames of a file: uint8 (moments, 3, H, W), or (1, 3, H, W) of a picture, whatever the moments.

        Args:
            number: of the file in `files`.
            moments: at least 0, in any order; a video goes forth and back, endlessly.

        Raises:
            VideoError: the file cannot be read.
        """
        ground = self.files[number]
        try:
            if not ground.moving:
                return self._pictures[ground.path][None]
            wanted = forth_and_back(moments, ground.frames)
            distinct = np.unique(wanted)
            step = max(int(np.gcd.reduce(np.diff(distinct))), 1) if len(distinct) > 1 else 1
            first = int(distinct[0])
            count = (int(distinct[-1]) - first) // step + 1
            clip = read_clip(ground.path, first, count, step, size=ground.size)
            order = (wanted - first) // step
            return clip if np.array_equal(order, np.arange(count)) else clip[order]
        except VideoError as error:
            self.bad.add(ground.key, error.reason)
            raise

    def _look_at_all(self) -> list[Ground | SkippedVideo]:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self._look, files_of(self._root, PICTURE_SUFFIXES | VIDEO_SUFFIXES)))

    def _look(self, key: str) -> Ground | SkippedVideo:
        path = self._root / key
        try:
            if path.suffix.lower() in VIDEO_SUFFIXES:
                info = look_at(path)
                return Ground(path, key, shrunk(info.size, VIDEO_SHORT / min(info.size)), info.frames or 0, True)
            height, width = read_picture(path, PICTURE_SHORT).shape[1:]
            return Ground(path, key, (height, width))
        except VideoError as error:
            return SkippedVideo(key, error.reason)


def forth_and_back(moments: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Frames of a video of that many at moments from 0 on, where it turns round at both ends."""
    if frames == 1:
        return np.zeros_like(moments)
    place = moments % (2 * frames - 2)
    return np.minimum(place, 2 * frames - 2 - place)
