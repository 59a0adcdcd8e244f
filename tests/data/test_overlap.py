"""Videos that training and validation share are found, by whatever path and in whatever form."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from evatok.data.folders import FileConfig, FolderConfig
from evatok.data.overlap import OverlapError, refuse_overlap
from evatok.data.prepare.scanning import ScanConfig, scan_to
from evatok.data.prepare.sharding import plan_shards, write_shards
from evatok.data.scenes.source import ScenesConfig
from evatok.data.shards import ShardsConfig
from evatok.data.sources import SourceConfig, open_source
from evatok.data.toy.games import GamesConfig
from evatok.stages.data import DataConfig
from evatok.video.reading import write_video

ONE = ScanConfig(processes=1)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Folders `train` and `held`, scanned and in shards, of which one video is the same under another name."""
    for number, name in enumerate(("train/a.mp4", "train/b.mp4", "held/c.mp4", "held/d.mp4")):
        generator = torch.Generator().manual_seed(number)
        video = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8, generator=generator)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_video(tmp_path / name, video, fps=10)
    for name in ("train", "held"):
        scan_to(tmp_path / name, tmp_path / f"{name}.parquet", ONE)
    shutil.copytree(tmp_path / "held", tmp_path / "leaky")
    shutil.copy(tmp_path / "train/b.mp4", tmp_path / "leaky/other name.mp4")
    scan_to(tmp_path / "leaky", tmp_path / "leaky.parquet", ONE)
    for name in ("train", "leaky"):
        write_shards(plan_shards(tmp_path / f"{name}.parquet", str(tmp_path / "shards" / name), config=ONE))
    return tmp_path


def check(training: SourceConfig, validation: SourceConfig) -> None:
    refuse_overlap([open_source(training)], [open_source(validation)])


def folder(videos: Path, name: str, scanned: bool = False) -> FolderConfig:
    return FolderConfig(str(videos / name), index=str(videos / f"{name}.parquet") if scanned else None)


def test_different_videos_pass(videos: Path) -> None:
    for scanned in (False, True):
        check(folder(videos, "train", scanned), folder(videos, "held", scanned))
    check(ShardsConfig(str(videos / "shards" / "train")), folder(videos, "held", True))
    check(folder(videos, "train"), FileConfig(str(videos / "held/c.mp4")))


def test_a_file_is_found_by_whatever_path(videos: Path) -> None:
    (videos / "link").symlink_to(videos / "train")
    same = f"{videos}/held/../train/b.mp4"
    for validation in (FileConfig(same), FileConfig(str(videos / "link" / "b.mp4"))):
        with pytest.raises(OverlapError, match=r"^1 videos of validation are in training: b:b\.mp4 is train:b\.mp4$"):
            check(folder(videos, "train"), validation)
    with pytest.raises(OverlapError, match="2 videos"):
        check(folder(videos, "train", True), FolderConfig(str(videos / "link")))


def test_copies_are_found_where_both_sides_were_scanned(videos: Path) -> None:
    forms = (
        lambda name: folder(videos, name, True),
        lambda name: ShardsConfig(str(videos / "shards" / name)),
    )
    for training in forms:
        for validation in forms:
            with pytest.raises(OverlapError, match=r"1 videos .*leaky:other name\.mp4 is train:b\.mp4"):
                check(training("train"), validation("leaky"))
    check(folder(videos, "train"), folder(videos, "leaky", True))


def test_an_error_names_some_and_counts_all(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(9):
        video = torch.full((16, 3, 16, 16), number, dtype=torch.uint8)
        write_video(tmp_path / "many" / f"{number}.mp4", video, fps=10)
    config = FolderConfig(str(tmp_path / "many"))
    with pytest.raises(OverlapError) as caught:
        DataConfig(train=[config], validation=[config]).open(seed=0)
    said = str(caught.value)
    assert said.startswith("9 videos of validation are in training: many:0.mp4 is many:0.mp4; ")
    assert said.count(" is many:") == 5 and said.endswith("; ...")


@pytest.mark.skipif(find_spec("ale_py") is None, reason="needs ale-py")
def test_episodes_of_one_seed_are_the_same(tmp_path: Path) -> None:
    pong = GamesConfig(["pong", "boxing"], seeds=(0, 4))
    check(pong, GamesConfig(["pong", "boxing"], seeds=(4, 6)))
    with pytest.raises(OverlapError, match=r"1 videos .*games:pong/3 is games:pong/3"):
        check(pong, GamesConfig(["pong"], seeds=(3, 5), frames=100))


def test_scenes_that_show_one_file_are_the_same(videos: Path) -> None:
    training, held = (ScenesConfig(str(videos / name), paths=8) for name in ("train", "held"))
    check(training, held)
    (videos / "held/e.mp4").symlink_to(videos / "train/b.mp4")
    with pytest.raises(OverlapError, match=r"held:e/0 is train:"):
        check(training, held)
    with pytest.raises(OverlapError, match=r"held:e/0 is train:b\.mp4"):
        check(folder(videos, "train"), held)
    # A path that cuts to the shared file is as bad as one that begins with it.
    with pytest.raises(OverlapError) as caught:
        check(training, ScenesConfig(str(videos / "held"), paths=64))
    assert int(str(caught.value).split()[0]) > 64


def test_a_file_is_found_by_hard_link(videos: Path) -> None:
    (videos / "held/e.mp4").hardlink_to(videos / "train/b.mp4")
    said = r"^1 videos of validation are in training: held:e\.mp4 is train:b\.mp4$"
    for training in (folder(videos, "train"), folder(videos, "train", True)):
        with pytest.raises(OverlapError, match=said):
            check(training, folder(videos, "held"))
    with pytest.raises(OverlapError, match=r"e:e\.mp4 is train:b\.mp4"):
        check(folder(videos, "train"), FileConfig(str(videos / "held/e.mp4")))
    with pytest.raises(OverlapError, match=r"held:e/0 is train:"):
        check(*(ScenesConfig(str(videos / name), paths=1) for name in ("train", "held")))
