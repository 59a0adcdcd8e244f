"""Videos in tar files, in webdataset's layout, read by byte ranges: from a folder, or any URL that fsspec reaches.

A folder of shards has `manifest.parquet`, which says where in which shard each video lies. So a clip is found
without reading what lies before it, and the order of training is a matter of seed and step alone.
"""

from dataclasses import dataclass

from evatok.data.clip_source import SourceConfig, check_weight
from evatok.data.manifest import SHARDS_MANIFEST, UNFINISHED_MANIFEST, Manifest, ManifestRow, read_manifest
from evatok.data.quarantine import check_tolerance
from evatok.data.scanned import ScannedSource
from evatok.data.storage import Place, StorageError
from evatok.video.reading import VideoBytes, VideoError


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


class ShardsSource(ScannedSource):
    """The usable videos of a folder of shards, in order of their paths. What cannot be fetched counts as broken.

    Raises:
        ValueError: there are no finished shards, or no usable video in them.
        StorageError: their folder cannot be reached.
        TooManyBadVideos: the share of bad videos is above `config.max_bad`, now or after a later read.
    """

    def __init__(self, config: ShardsConfig) -> None:
        self._place = Place(config.shards)
        name = config.name or self._place.url.rpartition("/")[2]
        manifest = read_shards_manifest(self._place)
        super().__init__(name, config.shards, manifest, config.max_bad, config.min_frames)

    def _find(self, row: ManifestRow) -> VideoBytes:
        name = f"{self._place}/{row.shard}:{row.path}"
        try:
            return VideoBytes(name, self._place.read(str(row.shard), row.offset or 0, row.bytes))
        except StorageError as error:
            raise VideoError(f"cannot read video '{name}': {error}") from error


def read_shards_manifest(place: Place) -> Manifest:
    """The videos of a folder of shards. Raises ValueError if it is none, or not finished."""
    if place.size(SHARDS_MANIFEST) is None:
        if place.size(UNFINISHED_MANIFEST) is not None:
            raise ValueError(f"the shards in {place} are not finished: run the same `evatok data shards` again")
        raise ValueError(f"there are no shards in {place}: it has no {SHARDS_MANIFEST}")
    manifest = read_manifest(f"{place}/{SHARDS_MANIFEST}")
    if not len(manifest) or manifest.table["shard"].null_count:
        raise ValueError(f"the manifest in {place} is not one of shards")
    return manifest
