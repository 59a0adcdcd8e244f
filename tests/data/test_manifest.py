"""Manifests survive being written and read, and what is none is named as such."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from evatok.data.manifest import (
    Manifest,
    ManifestError,
    ManifestRow,
    is_manifest,
    read_manifest,
    summary,
    write_manifest,
)
from evatok.data.storage import StorageError

GOOD = ManifestRow("a/ü.mp4", "a", 1234, "ab" * 32, 20, 29.97, 48, 64, "h264")
BAD = ManifestRow("b.mkv", "", 0, None, reason="the file is empty")


def test_rows_survive(tmp_path: Path) -> None:
    manifest = Manifest.of((GOOD, BAD), str(tmp_path / "videos"))
    assert (len(manifest), manifest[0], manifest[1], list(manifest)) == (2, GOOD, BAD, [GOOD, BAD])
    with pytest.raises(IndexError):
        manifest[2]
    for url in (str(tmp_path / "m.parquet"), "memory://manifests/m.parquet"):
        write_manifest(manifest, url)
        assert read_manifest(url) == manifest
    assert (list(manifest.good), list(manifest.bad)) == ([GOOD], [BAD])
    assert manifest != Manifest.of((GOOD, BAD)) and manifest != Manifest.of((GOOD,), manifest.folder)
    shards = Manifest.of((replace(GOOD, shard="shard-000000.tar", offset=512),))
    write_manifest(shards, tmp_path / "s.parquet")
    assert read_manifest(tmp_path / "s.parquet") == shards
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.parquet", "s.parquet"]


def test_any_tool_reads_the_columns(tmp_path: Path) -> None:
    write_manifest(Manifest.of((GOOD, BAD)), tmp_path / "m.parquet")
    good, bad = pyarrow.parquet.read_table(tmp_path / "m.parquet").to_pylist()
    expected = {"path": "a/ü.mp4", "label": "a", "frames": 20, "fps": 29.97, "height": 48, "width": 64, "codec": "h264"}
    assert good == expected | {"bytes": 1234, "sha256": "ab" * 32, "reason": None, "shard": None, "offset": None}
    assert (bad["path"], bad["frames"], bad["reason"]) == ("b.mkv", None, "the file is empty")


def test_the_folder_moves_with_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "old" / "videos").mkdir(parents=True)
    write_manifest(Manifest.of((GOOD,), str(tmp_path / "old" / "videos")), tmp_path / "old" / "m.parquet")
    (tmp_path / "old").rename(tmp_path / "new")
    assert read_manifest(tmp_path / "new" / "m.parquet").folder == str(tmp_path / "new" / "videos")


def test_what_is_no_manifest_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    with pytest.raises(StorageError, match=r"cannot read .*m\.parquet: "):
        read_manifest(path)
    path.write_bytes(b"these are no columns")
    assert not is_manifest(path)
    with pytest.raises(ManifestError, match=r"m\.parquet is not a manifest"):
        read_manifest(path)
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.mp4"]}), path)
    assert not is_manifest(path)
    with pytest.raises(ManifestError, match="not marked as one"):
        read_manifest(path)
    for version, said in (
        ("2", "is a manifest of version 2; this evatok reads version 1"),
        ("1", "its rows are wrong"),
    ):
        table = pyarrow.table({"path": ["a.mp4"]}).replace_schema_metadata({"evatok.manifest": version})
        pyarrow.parquet.write_table(table, path)
        assert is_manifest(path)
        with pytest.raises(ManifestError, match=re.escape(said)):
            read_manifest(path)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((GOOD, replace(BAD, reason=None)), r"b\.mkv: either what decoding found or a reason must"),
        ((replace(GOOD, reason="it is ugly"),), r"a/ü\.mp4: either what decoding found or a reason must"),
        ((replace(GOOD, height=None),), r"a/ü\.mp4: either what decoding found or a reason must"),
        ((replace(GOOD, offset=3), BAD), r"a/ü\.mp4: both shard and offset, or neither, must"),
        ((replace(GOOD, path="a\0b.mp4"),), r"a path has a NUL byte"),
        ((BAD, GOOD, BAD), r"it lists 'b\.mkv' more than once"),
    ],
)
def test_rows_are_checked(rows: tuple[ManifestRow, ...], said: str, tmp_path: Path) -> None:
    write_manifest(Manifest.of(rows), tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match=rf"m\.parquet is not a manifest: its rows are wrong \({said}"):
        read_manifest(tmp_path / "m.parquet")


@pytest.mark.parametrize("column", [[[1]], [{"a": 1}], ["x" * 5000], [1e300]])
def test_columns_of_other_types_are_refused(column: list[Any], tmp_path: Path) -> None:
    write_manifest(Manifest.of([GOOD]), tmp_path / "m.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "m.parquet")
    other = table.set_column(table.column_names.index("frames"), "frames", pyarrow.array(column))
    pyarrow.parquet.write_table(other, tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match="its rows are wrong") as caught:
        read_manifest(tmp_path / "m.parquet")
    assert len(str(caught.value).replace(str(tmp_path), "")) < 600


def test_rows_may_be_many_and_in_any_order(tmp_path: Path) -> None:
    """More than are made at once; sorting puts them in order."""
    rows = [replace(GOOD, path=f"{number:05d}", frames=number) for number in reversed(range(70_000))]
    manifest = Manifest.of(iter(rows))
    write_manifest(manifest, tmp_path / "m.parquet")
    assert read_manifest(tmp_path / "m.parquet") == manifest
    assert len(manifest) == 70_000 and manifest[69_999] == rows[-1] and list(manifest) == rows
    assert [row.frames for row in manifest.sorted_by("path")] == list(range(70_000))


def test_summary_counts_and_names(tmp_path: Path) -> None:
    assert summary(Manifest.of((GOOD, BAD))).splitlines() == [
        "1 good videos: 20 frames, 0.0 MB, 1 h264",
        "1 bad videos:",
        "  b.mkv: the file is empty",
    ]
