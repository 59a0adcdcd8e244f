"""Manifests: a Parquet file with one row a video, bad ones included, that says what decoding all of it found.

A scan writes one beside a folder of videos, and shards have one that says where in which shard a video lies.
"""

import io
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow
import pyarrow.parquet

from evatok.data.storage import place_and_name

VERSION = 1
SHARDS_MANIFEST = "manifest.parquet"  # its name in a folder of shards
UNFINISHED_MANIFEST = "unfinished.parquet"  # its name until all of them are written
_VERSION_KEY, _FOLDER_KEY = b"evatok.manifest", b"evatok.folder"
_SCHEMA = pyarrow.schema(
    [
        pyarrow.field("path", pyarrow.string(), nullable=False),
        pyarrow.field("label", pyarrow.string(), nullable=False),
        pyarrow.field("frames", pyarrow.int64()),
        pyarrow.field("fps", pyarrow.float64()),
        pyarrow.field("height", pyarrow.int32()),
        pyarrow.field("width", pyarrow.int32()),
        pyarrow.field("codec", pyarrow.string()),
        pyarrow.field("bytes", pyarrow.int64(), nullable=False),
        pyarrow.field("sha256", pyarrow.string()),
        pyarrow.field("reason", pyarrow.string()),
        pyarrow.field("shard", pyarrow.string()),
        pyarrow.field("offset", pyarrow.int64()),
    ]
)


class ManifestError(ValueError):
    """A file is no manifest that can be read; the message is one sentence that says why."""


@dataclass(frozen=True)
class Decoded:
    """What decoding a whole video found: frames, their rate a second, (height, width) as shown, the codec."""

    frames: int
    fps: float
    size: tuple[int, int]
    codec: str


@dataclass(frozen=True)
class ManifestRow:
    """One video.

    Args:
        path: within the folder that was scanned; the video's key.
        label: its class, "" if it has none.
        bytes: size of the file.
        sha256: of the file, in hexadecimal digits; None if it cannot be read.
        decoded: what decoding it found; None if it is bad.
        reason: why it is bad; None if it is not.
        shard: name of the file that holds it among others; None where it is a file of its own.
        offset: where in the shard its `bytes` begin.
    """

    path: str
    label: str
    bytes: int
    sha256: str | None
    decoded: Decoded | None = None
    reason: str | None = None
    shard: str | None = None
    offset: int | None = None

    def __post_init__(self) -> None:
        if (self.decoded is None) == (self.reason is None):
            raise ValueError(f"{self.path}: either what decoding found or a reason must be given")
        if (self.shard is None) != (self.offset is None):
            raise ValueError(f"{self.path}: shard and offset must be given together")

    def columns(self) -> dict[str, Any]:
        """The row as a Parquet file has it."""
        row = {name: getattr(self, name) for name in ("path", "label", "bytes", "sha256", "reason", "shard", "offset")}
        found = self.decoded
        if found is None:
            return row | dict.fromkeys(("frames", "fps", "height", "width", "codec"))
        height, width = found.size
        size = {"height": height, "width": width}
        return row | {"frames": found.frames, "fps": found.fps, "codec": found.codec} | size

    @classmethod
    def from_columns(cls, row: dict[str, Any]) -> "ManifestRow":
        """Undo `columns`; KeyError, TypeError or ValueError if `row` is not such a one."""
        decoded = None
        if row["reason"] is None:
            size = int(row["height"]), int(row["width"])
            decoded = Decoded(int(row["frames"]), float(row["fps"]), size, str(row["codec"]))
        names = ("path", "label", "bytes", "sha256", "reason", "shard", "offset")
        return cls(decoded=decoded, **{name: row[name] for name in names})


@dataclass(frozen=True)
class Manifest:
    """The videos of a folder, or of shards.

    Args:
        rows: the videos, in order of their paths, which differ.
        folder: absolute path of the folder that was scanned; None for shards.
    """

    rows: tuple[ManifestRow, ...]
    folder: str | None = None

    def __post_init__(self) -> None:
        paths = Counter(row.path for row in self.rows)
        twice = [path for path, times in paths.items() if times > 1]
        if twice:
            raise ValueError(f"a manifest lists {twice[0]!r} more than once")

    @property
    def good(self) -> tuple[ManifestRow, ...]:
        """Videos that can be decoded."""
        return tuple(row for row in self.rows if row.reason is None)

    @property
    def bad(self) -> tuple[ManifestRow, ...]:
        """Videos that cannot."""
        return tuple(row for row in self.rows if row.reason is not None)


def write_manifest(manifest: Manifest, url: str | os.PathLike[str]) -> None:
    """Write a manifest to a path or URL, whole or not at all. StorageError if that fails.

    The folder is noted relative to the manifest where both are on this machine, so that they can move together.
    """
    place, name = place_and_name(url)
    metadata = {_VERSION_KEY: str(VERSION).encode()}
    if manifest.folder is not None:
        near = os.path.relpath(manifest.folder, place.local) if place.local else manifest.folder
        metadata[_FOLDER_KEY] = os.fsencode(near)
    columns = [row.columns() for row in manifest.rows]
    table = pyarrow.Table.from_pylist(columns, _SCHEMA.with_metadata(metadata))
    with place.writing(name) as file:
        pyarrow.parquet.write_table(table, file)


def read_manifest(url: str | os.PathLike[str]) -> Manifest:
    """Read a manifest from a path or URL.

    Raises:
        ManifestError: the file is not a manifest, or one of a later version.
        StorageError: it cannot be read.
    """
    place, name = place_and_name(url)
    data = place.read(name)
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(data))
    except pyarrow.ArrowException as error:
        raise ManifestError(f"{url} is not a manifest: {error}") from error
    metadata = table.schema.metadata or {}
    if _VERSION_KEY not in metadata:
        raise ManifestError(f"{url} is not a manifest: it is not marked as one")
    version = metadata[_VERSION_KEY].decode(errors="replace")
    if version != str(VERSION):
        raise ManifestError(f"{url} is a manifest of version {version:.20}; this evatok reads version {VERSION}")
    folder = os.fsdecode(metadata[_FOLDER_KEY]) if _FOLDER_KEY in metadata else None
    if folder is not None and place.local:
        folder = os.path.normpath(place.local / folder)
    try:
        return Manifest(tuple(ManifestRow.from_columns(row) for row in table.to_pylist()), folder)
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(f"{url} is not a manifest: its rows are wrong ({error})") from error


def is_manifest(path: str | os.PathLike[str]) -> bool:
    """Whether a local Parquet file is marked as a manifest, of whatever version."""
    try:
        return _VERSION_KEY in (pyarrow.parquet.read_schema(path).metadata or {})
    except (pyarrow.ArrowException, OSError):
        return False


def summary(manifest: Manifest) -> str:
    """How many videos there are and of what, then the bad ones and why, one a line."""
    good, bad = manifest.good, manifest.bad
    frames = sum(row.decoded.frames for row in good if row.decoded)
    codecs = _counted(row.decoded.codec for row in good if row.decoded)
    size = sum(row.bytes for row in good) / 1e6
    lines = [f"{len(good)} good videos: {frames} frames, {size:.1f} MB{', ' if codecs else ''}{codecs}"]
    lines += [f"{len(bad)} bad videos{':' if bad else ''}"]
    return "\n".join(lines + [f"  {row.path}: {row.reason}" for row in bad])


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common())
