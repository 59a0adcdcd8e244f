"""Scenes over a folder of pictures and videos: videos whose contents vary as those of real ones do.

A path over a file is a function of the file's name and the path's number, as long as the folders' files are the
same. It has one to three shots. Each looks at a file by a view that rests, drifts, rushes or shakes, and cut-outs
may move over it. Only frames that are asked for are rendered.
"""

import zlib
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evatok.data.clip_source import ClipSource, SourceConfig, VideoEntry, check_range, check_weight
from evatok.data.folders import file_identities
from evatok.data.listing import files_of
from evatok.data.quarantine import Quarantine, SkippedVideo, check_tolerance
from evatok.data.recent import Recent
from evatok.data.scenes.grounds import Grounds
from evatok.data.scenes.pictures import read_cutout
from evatok.data.scenes.rendering import lay_over, part_seen, render
from evatok.data.scenes.things import draw_things
from evatok.data.scenes.views import FRAMES, Views, draw_views
from evatok.utils.ranks import by_one
from evatok.video.reading import VideoError

SIDE = 144  # height and width of the frames
CUT = 0.3  # chance that a path has cuts
TWO_CUTS = 0.3  # chance that these are two
SHORTEST = 4  # frames of a shot
ELSEWHERE = 0.5  # chance that a cut leads to another file
FREEZE = 0.1  # chance that a video stands still in a shot
CACHE_BYTES = 32 * 2**20  # decoded cut-outs kept


@dataclass(frozen=True)
class ScenesConfig(SourceConfig):
    """Paths over pictures and videos.

    Args:
        scenes: folder of pictures (a still ground) and videos (a moving ground), subfolders included.
        cutouts: folder of PNG files with transparency that move over some scenes; None: nothing does.
        name: of the source, in logs and tables; None: the folder's name.
        paths: different videos over each file.
        max_bad: share of the files of a folder that may be bad before opening, or later a read, raises.
        weight: share of training clips, relative to the other sources' weights.
    """

    scenes: str
    cutouts: str | None = None
    name: str | None = None
    paths: int = 64
    max_bad: float = 0.05
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight(self.weight)
        check_tolerance(self.max_bad, 1)
        if self.paths < 1:
            raise ValueError(f"paths must be at least 1, not {self.paths}")


@dataclass(frozen=True)
class _Shot:
    """Frames `first` to `after - 1` of a path: of which file, and what its randomness begins with."""

    ground: int
    first: int
    after: int
    seed: list[int]


class ScenesSource(ClipSource):
    """Videos over the usable files of a folder, file by file; the files are the classes.

    A file that cannot be used is skipped and listed in `quarantines` with the reason, cut-outs included.

    Raises:
        ValueError: a folder does not exist, or holds no usable file.
        TooManyBadVideos: the share of bad files is above `config.max_bad`, now or after a later read.
    """

    def __init__(self, config: ScenesConfig) -> None:
        root = Path(config.scenes)
        if not root.is_dir():
            raise ValueError(f"folder of scenes {root} does not exist or is not a folder")
        self.name = config.name or root.resolve().name
        self._number = config.paths
        self._grounds = Grounds(root, self.name, config.max_bad)
        self.classes = _names([ground.key for ground in self._grounds.files])
        # Short, as generators take their time with long seeds.
        self._seeds = [zlib.crc32(ground.key.encode()) for ground in self._grounds.files]
        self._identities = [file_identities(ground.path) for ground in self._grounds.files]
        self._cutouts: list[Path] = []
        self._cutout_folder = Path(config.cutouts or "")
        self.quarantines = (self._grounds.bad,)
        if config.cutouts is not None:
            self._cutouts, bad = _usable_cutouts(self._cutout_folder, self.name, config.max_bad)
            self.quarantines = (self._grounds.bad, bad)
        self._cutout_pixels = Recent(read_cutout, CACHE_BYTES)

    def __len__(self) -> int:
        return len(self._grounds.files) * self._number

    def describe(self, index: int) -> VideoEntry:
        """Path `index`; its key is "file/number"."""
        ground, number = self._file_and_number(index)
        return VideoEntry(f"{self.classes[ground]}/{number}", ground, FRAMES, (SIDE, SIDE))

    def identities(self, index: int) -> tuple[str, ...]:
        """The files that are looked at: all paths over one show the same."""
        shown = (self._identities[shot.ground] for shot in self._shots(index))
        return tuple(dict.fromkeys(chain.from_iterable(shown)))

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of path `index`: uint8 (count, 3, 144, 144).

        Raises:
            VideoError: a file that these frames show cannot be read.
        """
        check_range(self.describe(index), start, count, step)
        wanted = start + step * np.arange(count)
        parts = [(shot, wanted[(wanted >= shot.first) & (wanted < shot.after)]) for shot in self._shots(index)]
        return torch.cat([self._film(shot, frames) for shot, frames in parts if len(frames)])

    def _file_and_number(self, index: int) -> tuple[int, int]:
        return divmod(range(len(self))[index], self._number)

    def _shots(self, index: int) -> list[_Shot]:
        """The shots of a path. Overlap is looked for in all paths of a source, so this draws no more than it must."""
        ground, number = self._file_and_number(index)
        seed = [number, self._seeds[ground]]
        rng = np.random.default_rng(seed)
        cuts = [0, FRAMES]
        if rng.random() < CUT:
            for _ in range(2 if rng.random() < TWO_CUTS else 1):
                cuts.append(int(rng.integers(SHORTEST, FRAMES - SHORTEST + 1)))
        shots: list[_Shot] = []
        cuts = sorted(set(cuts))
        for shot, (first, after) in enumerate(pairwise(cuts)):
            elsewhere = shot > 0 and rng.random() < ELSEWHERE
            shown = int(rng.integers(len(self._grounds.files))) if elsewhere else ground
            shots.append(_Shot(shown, first, after, [shot, *seed]))
        return shots

    def _film(self, shot: _Shot, frames: NDArray[np.int64]) -> Tensor:
        """Frames of a shot: uint8 (frames, 3, SIDE, SIDE)."""
        rng = np.random.default_rng(shot.seed)
        ground = self._grounds.files[shot.ground]
        views = draw_views(rng, ground.size, ground.moving)
        moments = _moments(rng, ground.frames)
        things = draw_things(rng, len(self._cutouts), views)
        video = self._look(shot.ground, moments, views, frames)
        for thing in things:
            cutout = self._cutout(thing.cutout)
            cutout = cutout.flip(-1) if thing.mirrored else cutout
            lay_over(video, cutout, thing.path[frames], largest=float(thing.path[:, 2].max()))
        return video

    def _look(self, ground: int, moments: NDArray[np.int64], views: Views, frames: NDArray[np.int64]) -> Tensor:
        """What frames of a shot show of a file. Equal ones are rendered once: many a view rests."""
        moving = self._grounds.files[ground].moving
        rows = np.column_stack([moments if moving else np.zeros_like(moments), views])[frames]
        distinct, which = np.unique(rows, axis=0, return_inverse=True)
        pictures = self._grounds.read(ground, distinct[:, 0].astype(np.int64))
        seen = render(pictures, distinct[:, 1:], part_seen(views), SIDE)
        return seen[torch.from_numpy(which)]

    def _cutout(self, number: int) -> Tensor:
        path = self._cutouts[number]
        try:
            return self._cutout_pixels[path]
        except VideoError as error:
            self.quarantines[-1].add(path.relative_to(self._cutout_folder).as_posix(), error.reason)
            raise


def _moments(rng: np.random.Generator, frames: int) -> NDArray[np.int64]:
    """The frame of a video, before it turns round at its end, that each frame of a shot shows: (FRAMES,)."""
    start = int(rng.integers(max(frames - FRAMES + 1, 1) if frames >= FRAMES else frames))
    return np.full(FRAMES, start) if rng.random() < FREEZE else start + np.arange(FRAMES)


def _names(keys: list[str]) -> tuple[str, ...]:
    """Paths without their suffixes, except where these tell files apart."""
    bare = [str(Path(key).with_suffix("")) for key in keys]
    return tuple(key if bare.count(name) > 1 else name for key, name in zip(keys, bare, strict=True))


def _usable_cutouts(root: Path, name: str, max_bad: float) -> tuple[list[Path], Quarantine]:
    """The usable PNG files of a folder, and the others."""
    if not root.is_dir():
        raise ValueError(f"folder of cut-outs {root} does not exist or is not a folder")
    reasons = by_one(lambda: {key: _why_not(root / key) for key in files_of(root, {".png"})})
    if not reasons:
        raise ValueError(f"no PNG files in the folder of cut-outs {root}")
    skipped = tuple(SkippedVideo(key, reason) for key, reason in reasons.items() if reason)
    bad = Quarantine(f"{name}, cut-outs", str(root), len(reasons), skipped, max_bad)
    return [root / key for key, reason in reasons.items() if not reason], bad


def _why_not(cutout: Path) -> str | None:
    """Why a file cannot be used."""
    try:
        read_cutout(cutout)
    except VideoError as error:
        return error.reason
    return None
