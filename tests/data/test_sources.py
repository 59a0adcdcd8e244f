"""Folders, indices and files of videos as sources, bad files among them."""

import json
import logging
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
from torch import Tensor

from evatok.data.folders import FileConfig, FileSource, FolderConfig, FolderSource
from evatok.data.quarantine import TooManyBadVideos
from evatok.data.sources import KINDS, SourceConfig, open_source, source_config, source_kind
from evatok.data.toy.games import GamesConfig
from evatok.video.reading import VideoError, write_video
from tests.video.videos import encode, moving_bar


def ramp(frames: int, first: int = 0, size: tuple[int, int] = (16, 24)) -> Tensor:
    """A grey video whose frame i has the value first + 10 i, so that a frame tells its number."""
    values = (first + 10 * torch.arange(frames)).to(torch.uint8)
    return values[:, None, None, None].expand(frames, 3, *size).contiguous()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of two videos, and a video without a class."""
    root = tmp_path / "videos"
    for name in ("boxing/a.mp4", "boxing/b.mp4", "archery/c.mp4", "archery/deeper/d.mp4", "e.mp4"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, ramp(20), fps=10)
    return root


def test_folder_has_subfolders_as_classes(folder: Path) -> None:
    (folder / "notes.txt").write_text("not a video")
    source = FolderSource(FolderConfig(str(folder)))
    entries = [source.describe(index) for index in range(len(source))]
    assert source.name == "videos"
    assert source.classes == ("archery", "boxing")
    assert [(entry.key, entry.label) for entry in entries] == [
        ("archery/c.mp4", 0),
        ("archery/deeper/d.mp4", 0),
        ("boxing/a.mp4", 1),
        ("boxing/b.mp4", 1),
        ("e.mp4", -1),
    ]
    assert all(entry.frames == 20 and entry.size == (16, 24) for entry in entries)
    assert source.bad.skipped == ()


def test_the_rate_of_a_folder_is_its_videos_median(folder: Path) -> None:
    assert FolderSource(FolderConfig(str(folder), max_bad=0.5)).fps == 10
    write_video(folder / "boxing" / "a.mp4", ramp(20), fps=25)
    assert FolderSource(FolderConfig(str(folder), max_bad=0.5)).fps == 10
    write_video(folder / "short.mp4", ramp(3), fps=25)  # which is not used
    for name in ("boxing/b.mp4", "e.mp4"):
        write_video(folder / name, ramp(20), fps=30)
    assert FolderSource(FolderConfig(str(folder), max_bad=0.5)).fps == 25


def test_read_gives_the_frames_asked_for(folder: Path) -> None:
    source = FolderSource(FolderConfig(str(folder), name="mine"))
    frames = source.read(0, start=2, count=4, step=3)
    assert source.name == "mine"
    assert frames.shape == (4, 3, 16, 24) and frames.dtype == torch.uint8
    assert torch.allclose(frames.float().mean((1, 2, 3)), torch.tensor([20.0, 50, 80, 110]), atol=2)


@pytest.mark.parametrize("start, count, step", [(-1, 2, 1), (19, 2, 1), (0, 11, 2), (0, 0, 1), (0, 1, 0)])
def test_read_outside_the_video_is_an_error(folder: Path, start: int, count: int, step: int) -> None:
    source = FolderSource(FolderConfig(str(folder)))
    with pytest.raises(ValueError, match=r"archery/c\.mp4 has 20 frames"):
        source.read(0, start, count, step)


def test_bad_files_are_skipped_and_listed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "boxing/zero.mp4").touch()
    (folder / "boxing/text.mp4").write_text("these are no pictures\n" * 50)
    whole = (folder / "boxing/a.mp4").read_bytes()
    (folder / "boxing/half.mp4").write_bytes(b"\0" * len(whole))
    write_video(folder / "boxing/short.mp4", ramp(9), fps=10)
    with caplog.at_level(logging.WARNING, logger="evatok.data"):
        source = FolderSource(FolderConfig(str(folder), max_bad=0.5))
    reasons = {video.path: video.reason for video in source.bad.skipped}
    assert set(reasons) == {f"boxing/{name}.mp4" for name in ("zero", "text", "half", "short")}
    assert reasons["boxing/short.mp4"] == "too short: 9 frames, 16 are needed"
    assert all(reasons.values())
    assert len(source) == 5
    assert len(caplog.records) == 1
    assert "skipped 4 of 9 videos" in caplog.text
    assert all(path in caplog.text for path in reasons)


def test_too_many_bad_files_stop_the_run(folder: Path) -> None:
    (folder / "zero.mp4").touch()
    with pytest.raises(TooManyBadVideos, match=r"1 of the 6 videos .* 16\.7%.* max_bad allows 10\.0%.*zero\.mp4"):
        FolderSource(FolderConfig(str(folder), max_bad=0.1))
    assert len(FolderSource(FolderConfig(str(folder), max_bad=0.17))) == 5


def test_a_video_that_breaks_off_is_told_when_it_is_read(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (40, 3, 64, 64), dtype=torch.uint8, generator=generator)
    for name in "abcd":
        write_video(tmp_path / f"{name}.mp4", noise, fps=10)
    source = FolderSource(FolderConfig(str(tmp_path), max_bad=0.3))
    assert source.bad.skipped == ()
    whole = (tmp_path / "b.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 2].ljust(len(whole), b"\0"))
    assert source.read(1, 0, 4, 1).shape == (4, 3, 64, 64)
    for _ in range(2):
        with pytest.raises(VideoError):
            source.read(1, 30, 4, 1)
    assert list(source.bad.failed) == ["b.mp4"]
    (tmp_path / "d.mp4").write_bytes(b"")
    with pytest.raises(TooManyBadVideos, match="2 of the 4 videos"):
        source.read(3, 0, 4, 1)


def test_folders_without_videos_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        FolderSource(FolderConfig(str(tmp_path / "nowhere")))
    with pytest.raises(ValueError, match="no video files"):
        FolderSource(FolderConfig(str(tmp_path)))
    (tmp_path / "zero.mp4").touch()
    with pytest.raises(ValueError, match=r"none of the 1 videos .* zero\.mp4"):
        FolderSource(FolderConfig(str(tmp_path), max_bad=1.0))


def write_csv(path: Path) -> None:
    path.write_text("path,label\nboxing/b.mp4,right\ne.mp4,\narchery/c.mp4,left\n")


def write_parquet(path: Path) -> None:
    rows = {"path": ["boxing/b.mp4", "e.mp4", "archery/c.mp4"], "label": ["right", None, "left"]}
    pyarrow.parquet.write_table(pyarrow.table(rows), path)


@pytest.mark.parametrize("name, write", [("index.csv", write_csv), ("index.parquet", write_parquet)])
def test_an_index_names_files_and_labels(folder: Path, name: str, write: Callable[[Path], None]) -> None:
    write(folder / name)
    for index in (name, str(folder / name)):
        source = FolderSource(FolderConfig(str(folder), index=index))
        entries = [source.describe(number) for number in range(len(source))]
        assert source.classes == ("left", "right")
        assert [(entry.key, entry.label) for entry in entries] == [
            ("boxing/b.mp4", 1),
            ("e.mp4", -1),
            ("archery/c.mp4", 0),
        ]


def test_a_wrong_index_is_an_error(folder: Path) -> None:
    with pytest.raises(ValueError, match="neither a file"):
        FolderSource(FolderConfig(str(folder), index="missing.csv"))
    (folder / "index.csv").write_text("file,label\na.mp4,x\n")
    with pytest.raises(ValueError, match="columns file, label"):
        FolderSource(FolderConfig(str(folder), index="index.csv"))
    (folder / "index.csv").write_text("path\ngone.mp4\ne.mp4\n")
    source = FolderSource(FolderConfig(str(folder), index="index.csv", max_bad=0.5))
    assert [video.path for video in source.bad.skipped] == ["gone.mp4"]
    assert source.classes == ()


def test_a_file_is_a_source_of_one_video(folder: Path) -> None:
    source = open_source(FileConfig(str(folder / "e.mp4")))
    assert isinstance(source, FileSource)
    assert (source.name, source.classes, len(source)) == ("e", (), 1)
    assert source.describe(0).key == "e.mp4" and source.fps == 10
    assert source.describe(0).frames == 20
    assert source.read(0, 5, 1, 1).float().mean() == pytest.approx(50, abs=2)
    with pytest.raises(IndexError):
        source.describe(1)
    with pytest.raises(VideoError):
        open_source(FileConfig(str(folder / "missing.mp4")))


def test_a_container_without_a_frame_count_is_counted(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", ramp(23), fps=10)
    assert FileSource(FileConfig(str(tmp_path / "a.mkv"))).describe(0).frames == 23


def test_configs_are_checked() -> None:
    with pytest.raises(ValueError, match="weight"):
        FileConfig("a.mp4", weight=0)
    with pytest.raises(ValueError, match="max_bad"):
        FolderConfig("a", max_bad=1.5)
    with pytest.raises(ValueError, match="min_frames"):
        FolderConfig("a", min_frames=0)


ENTRIES: list[dict[str, Any]] = [
    {"folder": "a", "max_bad": 0.1},
    {"file": "a.mp4"},
    {"shards": "s3://a/b", "weight": 2.0},
    {"games": ["pong", "tennis"], "seeds": [3, 5]},
    {"doom": "all"},
    {"scenes": "a", "cutouts": "b"},
]


def test_one_key_decides_which_source_it_is() -> None:
    assert [next(key for key in entries if key in KINDS) for entries in ENTRIES] == list(KINDS)
    assert set(KINDS.values()) == set(SourceConfig.__subclasses__())
    for key, kind in KINDS.items():
        required = [field.name for field in fields(kind) if field.default is MISSING]
        assert required == [key] and not (KINDS.keys() - {key}) & {field.name for field in fields(kind)}


@pytest.mark.parametrize("entries", ENTRIES, ids=list(KINDS))
def test_a_source_is_the_same_from_json_and_a_part_of_its_entries(entries: dict[str, Any]) -> None:
    config = source_config(entries)
    assert source_config(json.loads(json.dumps(asdict(config)))) == config
    assert source_config(entries | {"weight": config.weight}) == config
    assert type(config) is source_kind(entries)


def test_entries_of_json_are_those_of_the_config() -> None:
    assert source_config(ENTRIES[3]) == GamesConfig(["pong", "tennis"], seeds=(3, 5), frames=320)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"foldr": "a"}, "one of folder, file, shards, games, doom, scenes; got {'foldr': 'a'}"),
        ({"folder": "a", "file": "b"}, "one of folder, file"),
        (
            {"folder": "a", "wieght": 2.0},
            "a source with `folder` has folder, index, name, max_bad, min_frames, weight; got wieght",
        ),
        ({"folder": "a", "weight": 0}, "weight of a source must be greater than 0, not 0"),
    ],
)
def test_entries_of_no_source_say_why(entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        source_config(entries)


def test_pictures_that_change_their_size_are_told_when_they_are_read(tmp_path: Path) -> None:
    small, large = (encode(tmp_path / f"{side}.ts", moving_bar(20, side, side)) for side in (48, 96))
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/a.ts").write_bytes(small.read_bytes() + large.read_bytes())
    source = FolderSource(FolderConfig(str(tmp_path / "videos"), max_bad=1.0))
    assert source.describe(0).size == (48, 48)
    assert source.read(0, 2, 8, 1).shape == (8, 3, 48, 48)
    for start in (15, 25):
        with pytest.raises(VideoError, match="its pictures change from 48x48 to 96x96 pixels"):
            source.read(0, start, 8, 1)
