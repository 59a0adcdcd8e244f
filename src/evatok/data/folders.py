"""Video files as a source of clips: a folder (a subfolder is a class), an index of files, or one file."""

import csv
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import pyarrow.parquet
from torch import Tensor

from evatok.data.clip_source import VideoEntry, check_range
from evatok.data.video import VideoError, probe, read_clip

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = {".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4"}
VIDEO_SUFFIXES |= {".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv", ".y4m"}
SHOWN = 5  # bad files that an error names; all of them are in `FolderSource.skipped`


class TooManyBadVideos(ValueError):
    """More videos of a folder than the limit allows cannot be used."""


@dataclass(frozen=True)
class SkippedVideo:
    """A file that is not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class FolderConfig:
    """A folder of videos.

    Args:
        folder: videos in a subfolder have its name as their class, videos directly in the folder have none.
        index: CSV or Parquet file with the columns `path` (relative to the folder) and, if there are classes,
            `label`; it then decides which files there are. None: every video file of the folder.
        name: of the source, in logs and tables; None: the folder's name.
        max_bad: share of the files that may be bad before opening, or later a read, raises.
        min_frames: shorter videos are skipped.
        weight: share of training clips, relative to the other sources' weights.
    """

    folder: str
    index: str | None = None
    name: str | None = None
    max_bad: float = 0.05
    min_frames: int = 16
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight(self.weight)
        if not 0 <= self.max_bad <= 1:
            raise ValueError(f"max_bad is a share of the files, between 0 and 1, not {self.max_bad}")
        if self.min_frames < 1:
            raise ValueError(f"min_frames must be at least 1, not {self.min_frames}")


@dataclass(frozen=True)
class FileConfig:
    """One video file. `weight`: share of training clips, relative to the other sources' weights."""

    file: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight(self.weight)


def check_weight(weight: float) -> None:
    """Raise ValueError unless `weight` may be a source's share of the training clips."""
    if not weight > 0:
        raise ValueError(f"weight of a source must be greater than 0, not {weight}")


class FolderSource:
    """The usable videos of a folder, each looked at once when the source is made.

    A file that cannot be used is skipped and listed in `skipped` with the reason. A file that turns out to be
    broken only when it is read later is added to `failed`, and its reader told by VideoError.

    Raises:
        ValueError: the folder or index does not exist, or holds no usable video.
        TooManyBadVideos: the share of bad files is above `config.max_bad`, now or after a later read.
    """

    def __init__(self, config: FolderConfig) -> None:
        root = Path(config.folder)
        if not root.is_dir():
            raise ValueError(f"folder of videos {root} does not exist or is not a folder")
        listed = _read_index(root, Path(config.index)) if config.index else _walk(root)
        if not listed:
            raise ValueError(f"no video files in {config.index or root}")
        self.name = config.name or root.resolve().name
        self.classes = tuple(sorted({label for _, label in listed if label}))
        self.failed: dict[str, str] = {}
        self._root, self._max_bad, self._listed = root, config.max_bad, len(listed)
        self._entries, skipped = _scan(root, listed, self.classes, config.min_frames)
        self.skipped: tuple[SkippedVideo, ...] = tuple(skipped)
        self._report()

    def __len__(self) -> int:
        return len(self._entries)

    def describe(self, index: int) -> VideoEntry:
        """What the scan found out about video `index`; its key is the path within the folder."""
        return self._entries[index]

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of video `index`: uint8 (count, 3, H, W)."""
        entry = self._entries[index]
        check_range(entry, start, count, step)
        try:
            return read_clip(self._root / entry.key, start, count, step)
        except VideoError as error:
            if entry.key not in self.failed:
                self.failed[entry.key] = str(error)
                logger.warning("%s: cannot read %s: %s", self.name, entry.key, error)
                self._check_share()
            raise

    def _report(self) -> None:
        if self.skipped:
            lines = "".join(f"\n  {video.path}: {video.reason}" for video in self.skipped)
            logger.warning("%s: skipped %d of %d files:%s", self.name, len(self.skipped), self._listed, lines)
        self._check_share()
        if not self._entries:
            raise ValueError(f"none of the {self._listed} files of {self._root} is usable: {self._first_bad()}")

    def _check_share(self) -> None:
        bad = len(self.skipped) + len(self.failed)
        if bad > self._max_bad * self._listed:
            raise TooManyBadVideos(
                f"{bad} of the {self._listed} videos of {self._root} are bad: {bad / self._listed:.1%}, "
                f"where max_bad allows {self._max_bad:.1%}: {self._first_bad()}"
            )

    def _first_bad(self) -> str:
        bad = [f"{video.path} ({video.reason})" for video in self.skipped]
        bad += [f"{path} ({reason})" for path, reason in self.failed.items()]
        return "; ".join(bad[:SHOWN]) + ("; ..." if len(bad) > SHOWN else "")


class FileSource:
    """One video file, without a class.

    Raises:
        VideoError: the file cannot be read.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, config: FileConfig) -> None:
        self.name = Path(config.file).stem
        self._path = Path(config.file)
        frames, size = _look_at(self._path)
        self._entry = VideoEntry(key=self._path.name, label=-1, frames=frames, size=size)

    def __len__(self) -> int:
        return 1

    def describe(self, index: int) -> VideoEntry:
        """The file; its key is the file's name."""
        return (self._entry,)[index]

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of the file: uint8 (count, 3, H, W)."""
        check_range(self.describe(index), start, count, step)
        return read_clip(self._path, start, count, step)


def _walk(root: Path) -> list[tuple[str, str]]:
    """Paths of video files, relative to `root`, each with the name of its subfolder ("" directly in it)."""
    files = (path for path in root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    paths = sorted(path.relative_to(root) for path in files)
    return [(path.as_posix(), path.parts[0] if len(path.parts) > 1 else "") for path in paths]


def _read_index(root: Path, index: Path) -> list[tuple[str, str]]:
    """Paths and labels ("" where there is none) that an index lists."""
    path = index if index.is_absolute() or index.exists() else root / index
    if not path.is_file():
        raise ValueError(f"index {index} is neither a file nor one in {root}")
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path)
    if rows and "path" not in rows[0]:
        raise ValueError(f"index {path} has the columns {', '.join(rows[0])}, but 'path' is not among them")
    return [(row["path"], row.get("label") or "") for row in rows]


def _csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _parquet_rows(path: Path) -> list[dict[str, str]]:
    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]


def _scan(
    root: Path, listed: list[tuple[str, str]], classes: tuple[str, ...], min_frames: int
) -> tuple[list[VideoEntry], list[SkippedVideo]]:
    """Look at every file once; the order of `listed` is kept."""
    number = {label: index for index, label in enumerate(classes)}

    def look(item: tuple[str, str]) -> VideoEntry | SkippedVideo:
        key, label = item
        try:
            frames, size = _look_at(root / key)
        except VideoError as error:
            return SkippedVideo(key, str(error))
        if frames < min_frames:
            return SkippedVideo(key, f"too short: {frames} frames, {min_frames} are needed")
        return VideoEntry(key=key, label=number.get(label, -1), frames=frames, size=size)

    with ThreadPoolExecutor() as pool:
        found: Iterable[VideoEntry | SkippedVideo] = list(pool.map(look, listed))
    entries = [item for item in found if isinstance(item, VideoEntry)]
    return entries, [item for item in found if isinstance(item, SkippedVideo)]


def _look_at(path: Path) -> tuple[int, tuple[int, int]]:
    """Number of frames and (height, width) of a file whose first frame decodes; VideoError otherwise."""
    info = probe(path)
    return info.frames or _count_packets(path), info.size


def _count_packets(path: Path) -> int:
    """Frames of a file whose container does not say: one packet is one frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return sum(1 for packet in container.demux(stream) if packet.size)
