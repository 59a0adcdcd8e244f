"""Manifests: a Parquet file with one row a video, bad ones included, that says what decoding all of it found.

A scan writes one beside a folder of videos, and shards have one that says where in which shard a video lies. In memory
a manifest is its columns; a row is made when it is asked for.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from evatok.data.storage import place_and_name
from evatok.utils.texts import shortened
from evatok.video.sources import VideoInfo

VERSION = 1
SHARDS_MANIFEST = "manifest.parquet"  # its name in a folder of shards
UNFINISHED_MANIFEST = "unfinished.parquet"  # its name until all of them are written
_VERSION_KEY, _FOLDER_KEY = b"evatok.manifest", b"evatok.folder"
_FOUND = ("frames", "fps", "height", "width", "codec")
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
_ROWS_AT_ONCE = 2**16  # that are Python objects while columns are made of rows, or rows of columns


class ManifestError(ValueError):
    """A file is no manifest that can be read; the message is one sentence that says why."""


@dataclass(frozen=True)
class ManifestRow:
    """One video.

    Args:
        path: within the folder that was scanned; the video's key.
        label: its class, "" if it has none.
        bytes: size of the file.
        sha256: of the file, in hexadecimal digits; None if it cannot be read.
        frames: as many can be decoded. None if it is bad, as the next four.
        fps: frames a second.
        height: of the frames as shown.
        width: of the frames as shown.
        codec: by FFmpeg's name.
        reason: why it is bad; None if it is not.
        shard: name of the file that holds it among others; None where it is a file of its own.
        offset: where in the shard its `bytes` begin.
    """

    path: str
    label: str
    bytes: int
    sha256: str | None
    frames: int | None = None
    fps: float | None = None
    height: int | None = None
    width: int | None = None
    codec: str | None = None
    reason: str | None = None
    shard: str | None = None
    offset: int | None = None

    @classmethod
    def good(cls, path: str, label: str, size: int, sha256: str | None, info: VideoInfo) -> Self:
        """The row of a file of `size` bytes whose frames, as many as `info` says, can be decoded."""
        height, width = info.size
        return cls(path, label, size, sha256, info.frames, info.fps, height, width, info.codec)


def misnamed(path: str, label: str, size: int) -> ManifestRow | None:
    """The row of a file whose name no text can hold; None for any other name."""
    readable = _readable(path)
    if readable == path:
        return None
    return ManifestRow(readable, _readable(label), size, None, reason="its name is not in UTF-8")


def _readable(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")


@dataclass(frozen=True)
class Manifest:
    """The videos of a folder, or of shards: a sequence of rows.

    Args:
        table: a column for each of `ManifestRow`'s values. What a scan or sharding writes is in order of the paths.
        folder: absolute path of the folder that was scanned; None for shards.
    """

    table: pyarrow.Table
    folder: str | None = None

    @classmethod
    def of(cls, rows: Iterable[ManifestRow], folder: str | None = None) -> Self:
        """The manifest of rows, in their order."""
        rows, batches = iter(rows), []
        while some := [vars(row) for row in islice(rows, _ROWS_AT_ONCE)]:
            batches.append(pyarrow.RecordBatch.from_pylist(some, _SCHEMA))
        return cls(pyarrow.Table.from_batches(batches, _SCHEMA), folder)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, number: int) -> ManifestRow:
        """Row `number`, at least 0; IndexError beyond the last."""
        return ManifestRow(**self.table.slice(range(len(self))[number], 1).to_pylist()[0])

    def __iter__(self) -> Iterator[ManifestRow]:
        for batch in self.table.to_batches(_ROWS_AT_ONCE):
            yield from (ManifestRow(**row) for row in batch.to_pylist())

    @property
    def good(self) -> "Manifest":
        """Videos that can be decoded."""
        return Manifest(self.table.filter(pyarrow.compute.is_null(self.table["reason"])), self.folder)

    @property
    def bad(self) -> "Manifest":
        """Videos that cannot."""
        return Manifest(self.table.filter(pyarrow.compute.is_valid(self.table["reason"])), self.folder)

    def sorted_by(self, *columns: str) -> "Manifest":
        """The same videos in the order of columns, the first counting most."""
        return Manifest(self.table.sort_by([(column, "ascending") for column in columns]), self.folder)

    def in_shards(self, shards: Iterable[str], offsets: Iterable[int]) -> "Manifest":
        """The same videos in shards, each with the name of its and its place there."""
        table = self.table
        for name, values in (("shard", shards), ("offset", offsets)):
            field = _SCHEMA.field(name)
            table = table.set_column(_SCHEMA.get_field_index(name), field, pyarrow.array(values, field.type))
        return Manifest(table)


def write_manifest(manifest: Manifest, url: str | os.PathLike[str]) -> None:
    """Write a manifest to a path or URL, whole or not at all. StorageError if that fails.

    The folder is noted relative to the manifest where both are on this machine, so that they can move together.
    """
    place, name = place_and_name(url)
    metadata = {_VERSION_KEY: str(VERSION).encode()}
    if manifest.folder is not None:
        near = os.path.relpath(manifest.folder, place.local) if place.local else manifest.folder
        metadata[_FOLDER_KEY] = os.fsencode(near)
    with place.writing(name) as file:
        pyarrow.parquet.write_table(manifest.table.replace_schema_metadata(metadata), file)


def read_manifest(url: str | os.PathLike[str]) -> Manifest:
    """Read a manifest from a path or URL.

    Raises:
        ManifestError: the file is not a manifest, or one of a later version.
        StorageError: it cannot be read.
    """
    place, name = place_and_name(url)
    try:
        with place.reading(name) as file:
            table = pyarrow.parquet.read_table(file)
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
        return Manifest(_checked(table), folder)
    except (KeyError, ValueError, pyarrow.ArrowException) as error:
        raise ManifestError(f"{url} is not a manifest: its rows are wrong ({shortened(str(error))})") from error


def is_manifest(path: str | os.PathLike[str]) -> bool:
    """Whether a local Parquet file is marked as a manifest, of whatever version."""
    try:
        return _VERSION_KEY in (pyarrow.parquet.read_schema(path).metadata or {})
    except (pyarrow.ArrowException, OSError):
        return False


def summary(manifest: Manifest) -> str:
    """How many videos there are and of what, then the bad ones and why, one a line."""
    good, bad = manifest.good, manifest.bad
    frames, size = (pyarrow.compute.sum(good.table[name]).as_py() or 0 for name in ("frames", "bytes"))
    codecs = good.table["codec"].value_counts().to_pylist()
    by_count = sorted(codecs, key=lambda codec: -codec["counts"])
    parts = [f"{frames} frames", f"{size / 1e6:.1f} MB", *(f"{each['counts']} {each['values']}" for each in by_count)]
    lines = [f"{len(good)} good videos: {', '.join(parts)}", f"{len(bad)} bad videos{':' if len(bad) else ''}"]
    return "\n".join(lines + [f"  {row.path}: {row.reason}" for row in bad])


def _checked(table: pyarrow.Table) -> pyarrow.Table:
    """The columns of a manifest out of a file. ValueError or KeyError if they are none."""
    table = table.select(_SCHEMA.names).cast(_SCHEMA)
    empty = {name: pyarrow.compute.is_null(table[name]) for name in (*_FOUND, "reason", "shard", "offset")}
    for name in _FOUND:
        _refuse(table, pyarrow.compute.equal(empty[name], empty["reason"]), "either what decoding found or a reason")
    _refuse(table, pyarrow.compute.not_equal(empty["shard"], empty["offset"]), "both shard and offset, or neither,")
    paths = table["path"]
    if pyarrow.compute.any(pyarrow.compute.match_substring(paths, "\0")).as_py():
        raise ValueError("a path has a NUL byte, which no file's name has")
    # In order, as manifests are written, needs no table of all paths.
    ascending = pyarrow.compute.all(pyarrow.compute.less(paths.slice(0, max(len(paths) - 1, 0)), paths.slice(1)))
    if not ascending.as_py():
        twice = [each["values"] for each in paths.value_counts().to_pylist() if each["counts"] > 1]
        if twice:
            raise ValueError(f"it lists {twice[0]!r} more than once")
    return table


def _refuse(table: pyarrow.Table, wrong: Any, needed: str) -> None:
    first = pyarrow.compute.index(wrong, True).as_py()
    if first >= 0:
        raise ValueError(f"{table['path'][first]}: {needed} must be given")
