"""Scanning a folder of videos: each is decoded completely, and a manifest says what that found.

Videos are decoded in child processes with limits, so that none can crash, hang or exhaust the scan itself. A scan
that was killed goes on where it was, and ends with the manifest of one that was not.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from av.video.frame import VideoFrame
from tqdm import tqdm

from evatok.data.listing import Listed, videos_of
from evatok.data.manifest import Manifest, ManifestRow, misnamed, write_manifest
from evatok.data.prepare.children import Failure, in_children
from evatok.data.prepare.journal import Journal, journal_beside
from evatok.video.file import VideoFile
from evatok.video.sources import VideoError, VideoInfo, VideoSource

_BYTES_PER_SECOND = 2.0**18  # a file of so many bytes may take a second more
_FOREVER = 2.0**32  # seconds, 136 years; the kernel's clock takes few more


@dataclass(frozen=True)
class ScanConfig:
    """How videos are scanned: what decodes them, and what it may use for one file.

    Args:
        processes: that decode at a time; None: as many as there are CPUs.
        memory: bytes of address space beyond what a process has when it starts; held on Linux alone.
        seconds: of wall-clock time for any file; larger ones get more.
    """

    processes: int | None = None
    memory: int = 4 * 2**30
    seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes must be at least 1, got {self.processes}")
        for name in ("memory", "seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0, got {getattr(self, name)}")

    def seconds_for(self, size: int) -> float:
        """Seconds that a file of `size` bytes may take."""
        return min(self.seconds + size / _BYTES_PER_SECOND, _FOREVER)


DEFAULT = ScanConfig()


def scan_to(source: Path, target: Path, config: ScanConfig = DEFAULT) -> Manifest:
    """Scan a folder of videos, or one video, and write its manifest; both as `scan`, whose journal is removed."""
    journal = journal_beside(target)
    manifest = scan(source, journal, config)
    write_manifest(manifest, target)
    journal.unlink()
    return manifest


def scan(source: Path, journal: Path, config: ScanConfig) -> Manifest:
    """Decode every video of a folder, or one video, completely; says which are good, and why others are not.

    Args:
        source: a folder, whose subfolders are classes, or a video file.
        journal: where what is known so far is kept, for another call to go on from.
        config: processes and their limits.

    Raises:
        ValueError: `source` does not exist, or holds no video files.
    """
    folder, listed = _listed(source)
    with closing(Journal(journal, str(folder))) as known:
        return Manifest.of(_scan(folder, listed, known, config), str(folder)).sorted_by("path")


def decode_whole(source: VideoSource) -> VideoInfo:
    """Decode a video to its end and count its frames. VideoError where one cannot be had, as `read_clip` would find."""
    with VideoFile(source, threads=1) as file:
        count, damaged, info = 0, 0, None
        kinds: set[object] = set()
        for frame in file.frames():
            info = info or file.info(frame)
            # Converting one frame of a kind shows that all can be.
            if (kind := _kind(frame)) not in kinds:
                file.picture(frame, None)
                kinds.add(kind)
            count += 1
            damaged += frame.is_corrupt
        if info is None:
            raise file.error("it holds no frame")
        if damaged and not file.broadcast:
            raise file.error(f"{damaged} of its {count} frames are damaged")
        clock = file.clock()
        if clock is not None and clock.frames != count:
            raise file.error(f"{count} frames can be decoded, and its index lists {clock.frames}")
        return replace(info, frames=count)


def _kind(frame: VideoFrame) -> object:
    return frame.format.name, frame.colorspace, frame.color_range, frame.width, frame.height, frame.rotation


@dataclass(frozen=True)
class _File:
    """A listed file as it is now; mtime in nanoseconds."""

    path: str
    label: str
    size: int
    mtime: int


def _listed(source: Path) -> tuple[Path, list[Listed]]:
    """The folder of the videos, absolute, and what is to be scanned there."""
    if source.is_dir():
        listed = videos_of(source)
        if not listed:
            raise ValueError(f"no video files in {source}")
        return source.resolve(), listed
    if not source.exists():
        raise ValueError(f"there is no folder or video {source}")
    return source.parent.resolve(), [(source.name, "")]


def _scan(folder: Path, listed: list[Listed], journal: Journal, config: ScanConfig) -> Iterator[ManifestRow]:
    """The rows, known ones first, others as they are done."""
    files = [_status(folder, path, label) for path, label in listed]
    todo, bad = [], 0
    with tqdm(total=len(files), unit="video", desc=f"scanning {folder.name}") as bar:
        for file in files:
            row = journal.find(file.path, file.size, file.mtime) or misnamed(file.path, file.label, file.size)
            if row is None:
                todo.append(file)
                continue
            bad += row.reason is not None
            bar.update()
            yield row
        for file, row in _decoded(folder, todo, config):
            journal.add(row, file.mtime)
            bad += row.reason is not None
            bar.set_postfix(bad=bad, refresh=False)
            bar.update()
            yield row


def _status(folder: Path, path: str, label: str) -> _File:
    try:
        status = os.stat(folder / path)
    except OSError:
        return _File(path, label, 0, 0)
    return _File(path, label, status.st_size, status.st_mtime_ns)


def _decoded(folder: Path, files: list[_File], config: ScanConfig) -> Iterator[tuple[_File, ManifestRow]]:
    """Rows of files, as they are done."""
    tasks = [(str(folder / file.path), file) for file in files]
    seconds = [config.seconds_for(file.size) for file in files]
    processes = config.processes or os.cpu_count() or 1
    for number, row in in_children(_look_at, tasks, seconds, config.memory, processes):
        path, file = tasks[number]
        if isinstance(row, Failure):
            row = ManifestRow(file.path, file.label, file.size, _sha256(path), reason=row.reason)
        yield file, row


def _look_at(task: tuple[str, _File]) -> ManifestRow:
    """What a child does with a file."""
    path, file = task
    sha256 = _sha256(path)
    try:
        return ManifestRow.good(file.path, file.label, file.size, sha256, decode_whole(path))
    except VideoError as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from None
        return ManifestRow(file.path, file.label, file.size, sha256, reason=error.reason)


def _sha256(path: str) -> str | None:
    """Digest of a file; None if it cannot be read."""
    if not os.path.isfile(path):  # a pipe would never end
        return None
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
