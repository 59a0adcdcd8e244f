"""Video files as a source of clips: a folder (a subfolder is a class), an index of files, or one file."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from evatok.data.clip_source import SourceConfig, VideoEntry, check_range
from evatok.data.listing import Listed, find_index, read_index, videos_of
from evatok.data.manifest import ManifestRow, is_manifest, read_manifest
from evatok.data.quarantine import Quarantine, SkippedVideo, check_tolerance, too_short
from evatok.data.scanned import classes_of, content_identity, entries_of
from evatok.video.file import VideoFile
from evatok.video.reading import VideoError, probe, read_clip


@dataclass(frozen=True)
class FolderConfig(SourceConfig):
    """A folder of videos.

    Args:
        folder: videos in a subfolder have its name as their class, videos directly in the folder have none.
        index: CSV or Parquet file with the columns `path` (relative to the folder) and, if there are classes,
            `label`; it then decides which files there are. Or a manifest of `evatok data scan`, which also says
            which of them are good: none is looked at again. None: every video file of the folder.
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
        check_tolerance(self.max_bad, self.min_frames)


@dataclass(frozen=True)
class FileConfig(SourceConfig):
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
    """The usable videos of a folder, each looked at once when the source is made, or by a scan before.

    A file that cannot be used is skipped and listed in `skipped` with the reason. A file that turns out to be
    broken only when it is read later is added to `failed`, and its reader told by VideoError; so is one whose size
    is not what it was when it was scanned.

    Raises:
        ValueError: the folder or index does not exist, or holds no usable video.
        TooManyBadVideos: the share of bad files is above `config.max_bad`, now or after a later read.
    """

    def __init__(self, config: FolderConfig) -> None:
        root = Path(config.folder)
        if not root.is_dir():
            raise ValueError(f"folder of videos {root} does not exist or is not a folder")
        self.name = config.name or root.resolve().name
        self._root = root
        self._scanned: dict[str, ManifestRow] = {}
        index = find_index(root, config.index) if config.index else None
        if index and is_manifest(index):
            rows = read_manifest(index).rows
            self._scanned = {row.path: row for row in rows}
            listed = [(row.path, row.label) for row in rows]
        else:
            listed = read_index(index) if index else videos_of(root)
        if not listed:
            raise ValueError(f"no video files in {index or root}")
        self.classes = classes_of(listed)
        if self._scanned:
            self._entries, skipped = entries_of(rows, self.classes, config.min_frames)
        else:
            self._entries, skipped = _probe_all(root, listed, self.classes, config.min_frames)
        self._bad = Quarantine(self.name, str(root), len(listed), skipped, config.max_bad)

    @property
    def skipped(self) -> tuple[SkippedVideo, ...]:
        """Files that are not used."""
        return self._bad.skipped

    @property
    def failed(self) -> dict[str, str]:
        """Why files could not be read later, by their keys."""
        return self._bad.failed

    def __len__(self) -> int:
        return len(self._entries)

    def describe(self, index: int) -> VideoEntry:
        """What is known of video `index`; its key is the path within the folder."""
        return self._entries[index]

    def identities(self, index: int) -> tuple[str, ...]:
        """The file, and what is in it where a scan has seen that."""
        key = self._entries[index].key
        scanned = self._scanned.get(key)
        return (file_identity(self._root / key), *(content_identity(scanned) if scanned else ()))

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of video `index`: uint8 (count, 3, H, W)."""
        entry = self._entries[index]
        check_range(entry, start, count, step)
        try:
            self._check_unchanged(entry.key)
            return read_clip(self._root / entry.key, start, count, step)
        except VideoError as error:
            self._bad.add(entry.key, str(error))
            raise

    def _check_unchanged(self, key: str) -> None:
        path, scanned = self._root / key, self._scanned.get(key)
        size = path.stat().st_size if scanned and path.exists() else 0
        if scanned and size != scanned.bytes:
            raise VideoError(f"cannot read video '{path}': it has {size} bytes, and had {scanned.bytes} when scanned")


class FileSource:
    """One video file, without a class.

    Raises:
        VideoError: the file cannot be read.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, config: FileConfig) -> None:
        self.name = Path(config.file).stem
        self._path = Path(config.file)
        frames, size = look_at(self._path)
        self._entry = VideoEntry(key=self._path.name, label=-1, frames=frames, size=size)

    def __len__(self) -> int:
        return 1

    def describe(self, index: int) -> VideoEntry:
        """The file; its key is the file's name."""
        return (self._entry,)[index]

    def identities(self, index: int) -> tuple[str, ...]:
        """The file."""
        return (file_identity(self._path),)

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of the file: uint8 (count, 3, H, W)."""
        check_range(self.describe(index), start, count, step)
        return read_clip(self._path, start, count, step)


def file_identity(path: Path) -> str:
    """What names a file in `ClipSource.identities`, by whatever path it is reached."""
    return f"file:{path.resolve()}"


def _probe_all(
    root: Path, listed: list[Listed], classes: tuple[str, ...], min_frames: int
) -> tuple[list[VideoEntry], tuple[SkippedVideo, ...]]:
    """Look at every file once; the order of `listed` is kept."""
    number = {label: index for index, label in enumerate(classes)}

    def look(item: Listed) -> VideoEntry | SkippedVideo:
        key, label = item
        try:
            frames, size = look_at(root / key)
        except VideoError as error:
            return SkippedVideo(key, str(error))
        if frames < min_frames:
            return SkippedVideo(key, too_short(frames, min_frames))
        return VideoEntry(key=key, label=number.get(label, -1), frames=frames, size=size)

    with ThreadPoolExecutor() as pool:
        found: Iterable[VideoEntry | SkippedVideo] = list(pool.map(look, listed))
    entries = [item for item in found if isinstance(item, VideoEntry)]
    return entries, tuple(item for item in found if isinstance(item, SkippedVideo))


def look_at(path: Path) -> tuple[int, tuple[int, int]]:
    """Number of frames and (height, width) of a file whose first frame decodes; VideoError otherwise."""
    info = probe(path)
    if info.frames:
        return info.frames, info.size
    with VideoFile(path) as file:
        return file.count_packets(), info.size
