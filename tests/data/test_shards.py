"""Shards: what is written, when that is interrupted, and reading them by byte ranges from anywhere."""

import errno
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import torch
from torch import Tensor

from evatok.data.clips import ClipSamplerConfig, TrainingClips
from evatok.data.folders import FolderConfig, FolderSource
from evatok.data.loading import loader
from evatok.data.manifest import read_manifest
from evatok.data.prepare import sharding
from evatok.data.prepare.scanning import ScanConfig, scan_to
from evatok.data.prepare.sharding import plan_shards, write_shards
from evatok.data.quarantine import TooManyBadVideos
from evatok.data.shards import ShardsConfig, ShardsSource
from evatok.data.sources import open_source
from evatok.data.storage import Place, StorageError
from evatok.video.reading import VideoBytes, VideoError, read_clip, read_video, write_video

ONE = ScanConfig(processes=1)
SMALL = 150_000  # bytes of a shard, into which two of the videos fit


def noise(frames: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (frames, 3, 48, 64), dtype=torch.uint8, generator=generator)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six good videos with awkward names, one of them in a class of its own, and a bad one."""
    monkeypatch.setenv("EVATOK_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "videos"
    names = ["a.b.mp4", "Ä ö.MP4", "boxing/a.b.mp4", "boxing/a_b.mov", "boxing/deeper/c.mkv", f"{'long' * 30}.webm"]
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(root / name, noise(20, seed), fps=10)
    (root / "empty.mp4").touch()
    return root


@pytest.fixture
def memory() -> Iterator[str]:
    """A URL of files in memory, gone afterwards."""
    yield "memory://evatok-test/shards"
    fsspec.filesystem("memory").rm("/evatok-test", recursive=True)


def made(source: Path, destination: str | Path, size: int = SMALL) -> None:
    write_shards(plan_shards(source, str(destination), size, ONE))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_are_tar_files_in_webdatasets_layout(folder: Path, tmp_path: Path) -> None:
    made(folder, tmp_path / "shards")
    shards = sorted((tmp_path / "shards").glob("*.tar"))
    assert [path.name for path in shards] == [f"shard-{number:06d}.tar" for number in range(len(shards))]
    assert len(shards) >= 3 and all(path.stat().st_size <= SMALL for path in shards)
    samples: dict[str, dict[str, bytes]] = {}
    for path in shards:
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None and (member.mtime, member.uid, member.uname) == (0, 0, "")
                assert suffix not in samples.setdefault(key, {})
                samples[key][suffix] = file.read()
    found = {}
    for key, sample in samples.items():
        assert key.isascii() and "/" not in key and len(sample) == 2
        description = json.loads(sample.pop("json"))
        ((suffix, data),) = sample.items()
        path = folder / description["path"]
        assert data == path.read_bytes() and suffix == path.suffix[1:].lower()
        assert (description["frames"], description["height"], description["width"]) == (20, 48, 64)
        found[description["path"]] = description["label"]
    assert found == {
        path.relative_to(folder).as_posix(): "boxing" if "boxing" in path.parts else ""
        for path in folder.rglob("*.*")
        if path.name != "empty.mp4"
    }


def test_the_manifest_says_where_every_byte_is(folder: Path, tmp_path: Path) -> None:
    made(folder, tmp_path / "shards")
    rows = list(read_manifest(tmp_path / "shards" / "manifest.parquet"))
    assert [row.path for row in rows] == sorted(row.path for row in rows) and len(rows) == 6
    for row in rows:
        assert row.shard is not None and row.offset is not None
        data = (tmp_path / "shards" / row.shard).read_bytes()[row.offset : row.offset + row.bytes]
        assert hashlib.sha256(data).hexdigest() == row.sha256 and data == (folder / row.path).read_bytes()


def test_from_a_folder_or_its_manifest_the_bytes_are_the_same(folder: Path, tmp_path: Path, memory: str) -> None:
    made(folder, tmp_path / "one")
    scan_to(folder, tmp_path / "m.parquet", ONE)
    made(tmp_path / "m.parquet", tmp_path / "two")
    made(tmp_path / "m.parquet", memory)
    files = fsspec.filesystem("memory")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") == {name.rpartition("/")[2]: files.cat(name) for name in files.ls(memory, False)}
    assert not list((tmp_path / "cache").rglob("*.journal"))


def test_the_plan_tells_sizes_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    plan = plan_shards(folder, str(tmp_path / "shards"), SMALL, ONE)
    assert not (tmp_path / "shards").exists()
    said = str(plan)
    write_shards(plan)
    sizes = [path.stat().st_size for path in (tmp_path / "shards").glob("*.tar")]
    assert f"6 videos, {sum(sizes) / 1e6:,.1f} MB in {len(sizes)} shards at {tmp_path}/shards; " in said
    assert "are free there" in said and "left out: empty.mp4: the file is empty" in said
    assert [shard.size for shard in plan.shards] == [
        (tmp_path / "shards" / shard.name).stat().st_size for shard in plan.shards
    ]


def test_what_does_not_fit_is_refused_beforehand(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "free_space", lambda self: 12_345)
    with pytest.raises(OSError, match=r"shards has 0\.0 MB left, and the shards need 0\.\d MB"):
        plan_shards(folder, str(tmp_path / "shards"), SMALL, ONE)
    assert not (tmp_path / "shards").exists()


def test_an_interrupted_run_keeps_its_finished_shards(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(folder, tmp_path / "whole")
    real, copied = sharding._copy, []

    def third_breaks(path: Path, row: object) -> Iterator[bytes]:
        copied.append(path.name)
        yield from real(path, row)  # type: ignore[arg-type]
        if len(copied) == 3:
            raise KeyboardInterrupt

    shards = tmp_path / "shards"
    with monkeypatch.context() as patch:
        patch.setattr(sharding, "_copy", third_breaks)
        with pytest.raises(KeyboardInterrupt):
            made(folder, shards)
    assert sorted(path.name for path in shards.iterdir()) == ["shard-000000.tar", "unfinished.parquet"]
    with pytest.raises(ValueError, match="are not finished: run the same `evatok data shards` again"):
        ShardsSource(ShardsConfig(str(shards)))
    first = (shards / "shard-000000.tar").stat()
    with pytest.raises(ValueError, match="holds shards of other videos, or of another size"):
        made(folder, shards, size=2 * SMALL)
    plan = plan_shards(folder, str(shards), SMALL, ONE)
    assert plan.kept == {"shard-000000.tar"} and "1 shards are there already" in str(plan)
    write_shards(plan)
    assert contents(shards) == contents(tmp_path / "whole")
    assert (shards / "shard-000000.tar").stat().st_mtime_ns == first.st_mtime_ns
    made(folder, shards)
    assert contents(shards) == contents(tmp_path / "whole")


def test_shards_are_not_written_over_others(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "shard-000000.tar").write_text("mine")
    with pytest.raises(ValueError, match="holds shards of other videos"):
        made(folder, tmp_path / "shards")
    made(folder, tmp_path / "more")
    (folder / "a.b.mp4").unlink()
    with pytest.raises(ValueError, match="holds shards of other videos"):
        made(folder, tmp_path / "more")


def test_a_video_that_changed_since_the_scan_is_refused(folder: Path, tmp_path: Path) -> None:
    scan_to(folder, tmp_path / "m.parquet", ONE)
    data = bytearray((folder / "a.b.mp4").read_bytes())
    data[-1] ^= 1
    (folder / "a.b.mp4").write_bytes(data)
    with pytest.raises(VideoError, match=r"a\.b\.mp4' is not the one that was scanned"):
        made(tmp_path / "m.parquet", tmp_path / "shards")
    assert not (tmp_path / "shards" / "manifest.parquet").exists()
    assert not list((tmp_path / "shards").glob(".*"))


def test_nothing_to_write_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no video of .* is good\n  empty\.mp4: the file is empty"):
        made(folder / "empty.mp4", tmp_path / "shards")
    with pytest.raises(ValueError, match="at least 1 byte, got 0"):
        made(folder, tmp_path / "shards", size=0)
    made(folder, tmp_path / "shards")
    with pytest.raises(ValueError, match="is a manifest of shards, not of a folder"):
        made(tmp_path / "shards" / "manifest.parquet", tmp_path / "again")


def test_a_video_larger_than_a_shard_has_one_of_its_own(folder: Path, tmp_path: Path) -> None:
    made(folder, tmp_path / "shards", size=1)
    assert len(list((tmp_path / "shards").glob("*.tar"))) == 6
    assert len(ShardsSource(ShardsConfig(str(tmp_path / "shards")))) == 6


def test_a_source_of_shards_gives_what_the_folder_gives(folder: Path, tmp_path: Path, memory: str) -> None:
    scan_to(folder, tmp_path / "m.parquet", ONE)
    for url in (str(tmp_path / "shards"), memory):
        made(tmp_path / "m.parquet", url)
        shards = open_source(ShardsConfig(url))
        source = FolderSource(FolderConfig(str(folder), index=str(tmp_path / "m.parquet"), max_bad=0.2))
        assert isinstance(shards, ShardsSource) and shards.bad.skipped == ()
        assert (shards.name, shards.classes, len(shards)) == ("shards", ("boxing",), 6)
        for index in range(len(shards)):
            assert shards.describe(index) == source.describe(index)
            assert torch.equal(shards.read(index, 2, 4, 3), source.read(index, 2, 4, 3))
    with pytest.raises(ValueError, match=r"has 20 frames: cannot give 4 from frame 18"):
        shards.read(0, 18, 4, 1)
    assert len(ShardsSource(ShardsConfig(memory, min_frames=20, name="mine"))) == 6
    with pytest.raises(TooManyBadVideos, match="6 of the 6"):
        ShardsSource(ShardsConfig(memory, min_frames=21))


def test_training_sees_the_same_clips_from_a_folder_and_from_shards(folder: Path, tmp_path: Path, memory: str) -> None:
    """And with workers, and when it begins in the middle: a clip is a matter of seed and step alone."""
    scan_to(folder, tmp_path / "m.parquet", ONE)
    made(tmp_path / "m.parquet", memory)
    config = ClipSamplerConfig(frames=4, sizes=[(32, 32)], size_weights=[1.0])

    def clips(source: FolderSource | ShardsSource) -> TrainingClips:
        return TrainingClips([source], [1.0], config, 2, seed=3)

    index = str(tmp_path / "m.parquet")
    from_folder = clips(FolderSource(FolderConfig(str(folder), index=index, name="x", max_bad=0.2)))
    from_shards = clips(ShardsSource(ShardsConfig(memory, name="x")))
    expected = [from_folder[step] for step in range(6)]
    for batches in (loader(from_shards, range(6)), loader(from_shards, range(6), workers=2)):
        for batch, other in zip(batches, expected, strict=True):
            assert batch.keys == other.keys and torch.equal(batch.video, other.video)
    (resumed,) = loader(from_shards, [4])
    assert resumed.keys == expected[4].keys and torch.equal(resumed.video, expected[4].video)


def test_reading_takes_the_videos_bytes_and_no_others(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(folder, tmp_path / "shards")
    source = ShardsSource(ShardsConfig(str(tmp_path / "shards")))
    rows = {row.path: row for row in read_manifest(tmp_path / "shards" / "manifest.parquet")}
    reads = []
    real = Place.read

    def record(self: Place, name: str, start: int = 0, size: int | None = None) -> bytes:
        reads.append((name, start, size))
        return real(self, name, start, size)

    monkeypatch.setattr(Place, "read", record)
    source.read(3, 0, 4, 1)
    row = rows[source.describe(3).key]
    assert reads == [(row.shard, row.offset, row.bytes)]


def test_a_shard_that_is_cut_short_or_gone_fails_its_videos_alone(folder: Path, tmp_path: Path, memory: str) -> None:
    made(folder, memory)
    files = fsspec.filesystem("memory")
    source = ShardsSource(ShardsConfig(memory, max_bad=0.7))
    data = files.cat(f"{memory}/shard-000000.tar")
    files.pipe(f"{memory}/shard-000000.tar", data[: len(data) // 2])
    files.rm(f"{memory}/shard-000001.tar")
    rows = {row.path: row for row in read_manifest(f"{memory}/manifest.parquet")}
    for index in range(len(source)):
        row = rows[source.describe(index).key]
        assert row.offset is not None
        if row.shard == "shard-000001.tar":
            with pytest.raises(VideoError, match=r"shard-000001\.tar:.*cannot read memory://.*shard-000001\.tar"):
                source.read(index, 0, 4, 1)
        elif row.shard == "shard-000000.tar" and row.offset + row.bytes > len(data) // 2:
            with pytest.raises(VideoError, match=r"it ends at byte \d+ of \d+"):
                source.read(index, 0, 4, 1)
        else:
            assert source.read(index, 0, 4, 1).shape == (4, 3, 48, 64)
    assert 2 <= len(source.bad.failed) <= 4
    for index in range(len(source)):
        files.pipe(f"{memory}/{rows[source.describe(index).key].shard}", b"")
    with pytest.raises(TooManyBadVideos, match=r"videos of memory://.* are bad"):
        for index in range(len(source)):
            with pytest.raises(VideoError):
                source.read(index, 0, 4, 1)


def test_what_is_no_folder_of_shards_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there are no shards in .*: it has no manifest\.parquet"):
        ShardsSource(ShardsConfig(str(tmp_path)))
    with pytest.raises(StorageError, match="cannot look at nosuch://bucket"):
        ShardsSource(ShardsConfig("nosuch://bucket"))
    with pytest.raises(ValueError, match="weight"):
        ShardsConfig("a", weight=0)
    with pytest.raises(ValueError, match="max_bad"):
        ShardsConfig("a", max_bad=-1)


def test_a_manifest_of_a_folder_is_none_of_shards(folder: Path) -> None:
    shutil.rmtree(folder / "boxing")
    scan_to(folder, folder / "manifest.parquet", ONE)
    with pytest.raises(ValueError, match="is not one of shards"):
        ShardsSource(ShardsConfig(str(folder)))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
def test_a_video_in_memory_reads_like_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_video(path, noise(24), fps=10)
    expected = read_video(path).frames
    data = VideoBytes(f"somewhere/a{suffix}", path.read_bytes())
    for start, count, step in ((0, 24, 1), (11, 4, 3), (23, 1, 1)):
        wanted = expected[start : start + count * step : step]
        assert torch.equal(read_clip(data, start, count, step), wanted)
        assert torch.equal(read_clip(path, start, count, step), wanted)
    with pytest.raises(VideoError, match=r"cannot read video 'somewhere/a.* ends"):
        read_clip(data, 20, 8)
    with pytest.raises(VideoError, match=r"'x\.mp4': the file is empty"):
        read_clip(VideoBytes("x.mp4", b""), 0, 1)


def test_a_playlist_in_memory_opens_no_file(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.mp4", noise(5), fps=10)
    text = f"ffconcat version 1.0\nfile '{tmp_path}/secret.mp4'\noption safe 0\n".encode()
    with pytest.raises(VideoError):
        read_clip(VideoBytes("list.ffconcat", text), 0, 1)


def test_a_full_disk_is_told_with_the_file(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with (
        pytest.raises(StorageError, match=rf"^cannot write {tmp_path}/a\.tar: No space left on device$"),
        place.writing("a.tar") as file,
    ):
        file.write(b"some")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []
