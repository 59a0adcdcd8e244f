"""Video files as a source of clips: a folder (a subfolder is a class), an index of files, or one file."""

from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
from torch import Tensor
from tqdm import tqdm

from evatok.data.clip_source import ClipSource, SourceConfig, VideoEntry, check_range, check_size, check_weight
from evatok.data.index import find_index, read_index
from evatok.data.listing import Listed, file_number, videos_of
from evatok.data.manifest import Manifest, ManifestRow, is_manifest, misnamed, read_manifest
from evatok.data.quarantine import check_tolerance
from evatok.data.scanned import ScannedSource
from evatok.utils.ranks import by_one
from evatok.video.file import VideoFile
from evatok.video.reading import VideoError, read_clip
from evatok.video.sources import VideoInfo, unreadable

_PATIENCE = 5  # seconds of looking at files before progress is shown
_FILE = "file:"  # what the identity of a file begins with


@dataclass(frozen=True)
class FolderConfig(SourceConfig):
    """A folder of videos.

    Args:
        folder: videos in a subfolder have its name as their class, videos directly in the folder have none. Links are
            followed; what begins with a dot is hidden and no video.
        index: CSV or Parquet file with the columns `path` (relative to the folder, or absolute) and, if there are
            classes, `label`; it then decides which files there are. Or a manifest of `evatok data scan`, which also
            says which of them are good: none is looked at again. None: every video file of the folder.
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


class FolderSource(ScannedSource):
    """The usable videos of a folder, each looked at once when the source is made, or by a scan before.

    A file whose size is not what it was when it was looked at counts as broken. Where processes train together, one
    of them looks and the others take what it found: all must make the source.

    Raises:
        ValueError: the folder or index does not exist, or holds no usable video.
        TooManyBadVideos: the share of bad files is above `config.max_bad`, now or after a later read.
    """

    def __init__(self, config: FolderConfig) -> None:
        self._root = Path(config.folder)
        if not self._root.is_dir():
            raise ValueError(f"folder of videos {self._root} does not exist or is not a folder")
        name = config.name or self._root.resolve().name
        index = find_index(self._root, config.index) if config.index else None
        scanned = index is not None and is_manifest(index)
        manifest = read_manifest(index) if index and scanned else by_one(lambda: _look_at_all(self._root, index))
        if not len(manifest):
            raise ValueError(f"no video files in {index or self._root}")
        super().__init__(name, str(self._root), manifest, config.max_bad, config.min_frames)

    def identities(self, index: int) -> tuple[str, ...]:
        """The file, and what is in it where a scan has seen that."""
        return (*file_identities(self._root / self._row(index).path), *super().identities(index))

    def _may_be(self, names: Set[str]) -> Any:
        """A file that is one of these under another path is as large."""
        files = [Path(name.removeprefix(_FILE)) for name in names if name.startswith(_FILE)]
        sizes = pyarrow.array({path.stat().st_size for path in files if path.exists()}, pyarrow.int64())
        as_large = pyarrow.compute.is_in(self._manifest.table["bytes"], sizes)
        return pyarrow.compute.or_(super()._may_be(names), as_large)

    def _find(self, row: ManifestRow) -> Path:
        path = self._root / row.path
        size = _size(path)
        if size != row.bytes:
            raise unreadable(path, f"it has {size} bytes, and had {row.bytes} when scanned")
        return path


class FileSource(ClipSource):
    """One video file, without a class.

    Raises:
        VideoError: the file cannot be read.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, config: FileConfig) -> None:
        self.name = Path(config.file).stem
        self._path = Path(config.file)
        info = look_at(self._path)
        self.fps = info.fps
        self._entry = VideoEntry(key=self._path.name, label=-1, frames=info.frames or 0, size=info.size)

    def __len__(self) -> int:
        return 1

    def describe(self, index: int) -> VideoEntry:
        """The file; its key is the file's name."""
        return (self._entry,)[index]

    def identities(self, index: int) -> tuple[str, ...]:
        """The file."""
        return file_identities(self._path)

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of the file: uint8 (count, 3, H, W)."""
        check_range(self.describe(index), start, count, step)
        return check_size(read_clip(self._path, start, count, step), self._entry, self._path)


def file_identities(path: Path) -> tuple[str, ...]:
    """What names a file in `ClipSource.identities`, by whatever path or link it is reached."""
    number = file_number(path)
    return (f"{_FILE}{path.resolve()}", *([f"inode:{number[0]}/{number[1]}"] if number else []))


def look_at(path: Path) -> VideoInfo:
    """What is known of a file, and how many frames it holds: as many as decode, whatever the container claims.

    Raises:
        VideoError: its first frame cannot be had, or, where counting takes decoding all of them, any later one.
    """
    with VideoFile(path, threads=1) as file:
        first = next(file.frames(), None)
        if first is None:
            raise file.error("it holds no frame")
        file.picture(first, None)
        info = file.info(first)
        file.reopen()
        return replace(info, frames=file.count())


def _size(path: Path) -> int:
    """Bytes of a file, 0 of none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _look_at_all(root: Path, index: Path | None) -> Manifest:
    """Look at every file once; their order is kept."""

    def look(item: Listed) -> ManifestRow:
        (key, label), path = item, root / item[0]
        size = _size(path)
        try:
            return misnamed(key, label, size) or ManifestRow.good(key, label, size, None, look_at(path))
        except VideoError as error:
            return ManifestRow(key, label, size, None, reason=error.reason)

    listed = read_index(index, root) if index else videos_of(root)
    with ThreadPoolExecutor() as pool:
        rows = pool.map(look, listed)
        # Only containers without a good index take time, as their videos are decoded: a scan does that once for all.
        return Manifest.of(tqdm(rows, root.name, len(listed), delay=_PATIENCE, unit="video"))
