"""Videos in tar files, in webdataset's layout, read by byte ranges: from a folder, or any URL that fsspec reaches.

A folder of shards has `manifest.parquet`, which says where in which shard each video lies. So a clip is found
without reading what lies before it, and the order of training is a matter of seed and step alone.
"""

from dataclasses import dataclass

from torch import Tensor

from evatok.data.clip_source import SourceConfig, VideoEntry, check_range
from evatok.data.folders import check_weight
from evatok.data.manifest import SHARDS_MANIFEST, UNFINISHED_MANIFEST, ManifestRow, read_manifest
from evatok.data.quarantine import Quarantine, SkippedVideo, check_tolerance
from evatok.data.scanned import classes_of, content_identity, entries_of
from evatok.data.storage import Place, StorageError
from evatok.video.reading import VideoBytes, VideoError, read_clip


@dataclass(frozen=True)
class ShardsConfig(SourceConfig):
    """Videos in shards that `evatok data shards` has written.

    Args:
        shards: their folder, or its URL, such as `s3://bucket/shards`.
        name: of the source, in logs and tables; None: the folder's name.
        max_bad: share of the videos that may be bad before opening, or later a read, raises.
        min_frames: shorter videos are skipped.
        weight: share of training clips, relative to the other sources' weights.
    """

    shards: str
    name: str | None = None
    max_bad: float = 0.05
    min_frames: int = 16
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight(self.weight)
        check_tolerance(self.max_bad, self.min_frames)


class ShardsSource:
    """The usable videos of a folder of shards.

    A video that cannot be fetched or decoded when it is read is added to `failed`, and its reader told by
    VideoError.

    Raises:
        ValueError: there are no finished shards, or no usable video in them.
        StorageError: their folder cannot be reached.
        TooManyBadVideos: the share of bad videos is above `config.max_bad`, now or after a later read.
    """

    def __init__(self, config: ShardsConfig) -> None:
        self._place = Place(config.shards)
        self.name = config.name or self._place.url.rpartition("/")[2]
        rows = read_shards_manifest(self._place)
        self._rows = {row.path: row for row in rows}
        self.classes = classes_of((row.path, row.label) for row in rows)
        self._entries, skipped = entries_of(rows, self.classes, config.min_frames)
        self._bad = Quarantine(self.name, config.shards, len(rows), skipped, config.max_bad)

    @property
    def skipped(self) -> tuple[SkippedVideo, ...]:
        """Videos that are not used."""
        return self._bad.skipped

    @property
    def failed(self) -> dict[str, str]:
        """Why videos could not be read later, by their keys."""
        return self._bad.failed

    def __len__(self) -> int:
        return len(self._entries)

    def describe(self, index: int) -> VideoEntry:
        """What is known of video `index`; its key is the path within the folder that the shards were made of."""
        return self._entries[index]

    def identities(self, index: int) -> tuple[str, ...]:
        """What is in the video."""
        return content_identity(self._rows[self._entries[index].key])

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of video `index`: uint8 (count, 3, H, W)."""
        entry = self._entries[index]
        check_range(entry, start, count, step)
        try:
            return read_clip(self._fetch(self._rows[entry.key]), start, count, step)
        except VideoError as error:
            self._bad.add(entry.key, str(error))
            raise

    def _fetch(self, row: ManifestRow) -> VideoBytes:
        name = f"{self._place}/{row.shard}:{row.path}"
        try:
            return VideoBytes(name, self._place.read(str(row.shard), row.offset or 0, row.bytes))
        except StorageError as error:
            raise VideoError(f"cannot read video '{name}': {error}") from error


def read_shards_manifest(place: Place) -> tuple[ManifestRow, ...]:
    """The videos of a folder of shards. Raises ValueError if it is none, or not finished."""
    if place.size(SHARDS_MANIFEST) is None:
        if place.size(UNFINISHED_MANIFEST) is not None:
            raise ValueError(f"the shards in {place} are not finished: run the same `evatok data shards` again")
        raise ValueError(f"there are no shards in {place}: it has no {SHARDS_MANIFEST}")
    rows = read_manifest(f"{place}/{SHARDS_MANIFEST}").rows
    if not rows or any(row.shard is None for row in rows):
        raise ValueError(f"the manifest in {place} is not one of shards")
    return rows
