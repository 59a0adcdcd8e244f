"""Videos by what a manifest's columns say of them: what folders and shards have in common."""

from abc import abstractmethod
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
from numpy.typing import NDArray
from torch import Tensor

from evatok.data.clip_source import ClipSource, VideoEntry, check_range, check_size
from evatok.data.manifest import Manifest, ManifestRow
from evatok.data.quarantine import Quarantine, SkippedVideo, too_short
from evatok.video.reading import VideoBytes, VideoError, read_clip

_CONTENT = "sha256:"  # what the identity of a file's content begins with: copies share it


class ScannedSource(ClipSource):
    """The usable videos of a manifest, in its order. Bad ones and short ones are skipped and listed in `bad`.

    A video that turns out to be broken only when it is read later is added to these, and its reader told by
    VideoError. What is kept for each video is its row of columns and eight bytes.

    Args:
        name: of the source.
        place: the folder or URL of the videos.
        manifest: of all of them.
        max_bad: share of the videos that may be bad.
        min_frames: shorter videos are skipped.

    Raises:
        ValueError: no video is usable.
        TooManyBadVideos: the share of bad videos is above `max_bad`, now or after a later read.
    """

    def __init__(self, name: str, place: str, manifest: Manifest, max_bad: float, min_frames: int) -> None:
        self.name = name
        self._manifest = manifest
        labels = pyarrow.compute.unique(manifest.table["label"]).to_pylist()
        self.classes = tuple(sorted(label for label in labels if label))
        self._labels = {label: number for number, label in enumerate(self.classes)}
        usable = _frames(manifest) >= min_frames
        self._rows = np.flatnonzero(usable)
        left_out = manifest.table.select(["path", "reason", "frames"]).filter(pyarrow.array(~usable)).to_pylist()
        skipped = (SkippedVideo(row["path"], row["reason"] or too_short(row["frames"], min_frames)) for row in left_out)
        self.bad = Quarantine(name, place, len(manifest), tuple(skipped), max_bad)
        self.quarantines = (self.bad,)
        self.fps = float(np.median(np.asarray(manifest.table["fps"])[self._rows]))

    def __len__(self) -> int:
        return len(self._rows)

    def describe(self, index: int) -> VideoEntry:
        """What is known of video `index`; its key is the path within the folder that was scanned."""
        return self._entry(self._row(index))

    def lengths(self) -> NDArray[np.int64]:
        """Frames of each video."""
        return _frames(self._manifest)[self._rows]

    def identities(self, index: int) -> tuple[str, ...]:
        """What is in the video, where a scan has seen that."""
        digest = self._row(index).sha256
        return (f"{_CONTENT}{digest}",) if digest else ()

    def candidates(self, names: Set[str]) -> Iterable[int]:
        """Those of which the columns do not rule out that one of these identities is theirs."""
        places: list[int] = np.flatnonzero(np.asarray(self._may_be(names))[self._rows]).tolist()
        return places

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of video `index`: uint8 (count, 3, H, W)."""
        row = self._row(index)
        check_range(self._entry(row), start, count, step)
        try:
            return check_size(read_clip(self._find(row), start, count, step), self._entry(row), row.path)
        except VideoError as error:
            self.bad.add(row.path, error.reason)
            raise

    @abstractmethod
    def _find(self, row: ManifestRow) -> Path | VideoBytes:
        """What the video can be read from; VideoError if it is not there."""

    def _may_be(self, names: Set[str]) -> Any:
        """A mask of the manifest's rows: which may have one of these identities."""
        digests = [name.removeprefix(_CONTENT) for name in names if name.startswith(_CONTENT)]
        return pyarrow.compute.is_in(self._manifest.table["sha256"], pyarrow.array(digests, pyarrow.string()))

    def _row(self, index: int) -> ManifestRow:
        return self._manifest[int(self._rows[index])]

    def _entry(self, row: ManifestRow) -> VideoEntry:
        assert row.frames is not None and row.height is not None and row.width is not None  # it is usable
        return VideoEntry(row.path, self._labels.get(row.label, -1), row.frames, (row.height, row.width))


def _frames(manifest: Manifest) -> NDArray[np.int64]:
    """Frames of each video, 0 of bad ones."""
    frames: NDArray[np.int64] = np.asarray(pyarrow.compute.fill_null(manifest.table["frames"], 0))
    return frames
