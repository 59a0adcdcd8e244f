"""Scenes over pictures and videos that the tests make."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from evatok.data.quarantine import TooManyBadVideos
from evatok.data.scenes import source as scenes
from evatok.data.scenes.grounds import forth_and_back
from evatok.data.scenes.pictures import read_cutout, read_picture
from evatok.data.scenes.rendering import lay_over, part_seen, render
from evatok.data.scenes.source import SIDE, ScenesConfig, ScenesSource
from evatok.data.scenes.views import FRAMES
from evatok.data.sources import open_source, source_config
from evatok.video.reading import VideoError, write_video

PATHS = 12


def gradient(height: int, width: int) -> Tensor:
    """A picture whose red tells the row and whose green the column: float32 (3, height, width)."""
    picture = torch.zeros(3, height, width)
    picture[0] = torch.arange(height)[:, None] * (255 / height)
    picture[1] = torch.arange(width) * (255 / width)
    return picture


def save(path: Path, picture: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.byte().permute(1, 2, 0).contiguous().numpy()).save(path)


def disc(colour: tuple[int, int, int], side: int = 40) -> Tensor:
    """A cut-out: float32 (4, side, side), a disc."""
    place = torch.arange(side) - (side - 1) / 2
    alpha = (place**2 + place[:, None] ** 2 < (side / 2 - 2) ** 2) * 255.0
    return torch.cat([torch.tensor(colour).float()[:, None, None].expand(3, side, side), alpha[None]])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    save(folder / "slope.png", gradient(160, 240))
    save(folder / "deep" / "grey.jpg", torch.full((3, 150, 150), 128.0))
    return folder


@pytest.fixture
def cutouts(tmp_path: Path) -> Path:
    save(tmp_path / "cutouts" / "red.png", disc((255, 0, 0)))
    return tmp_path / "cutouts"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A folder of one video of 20 frames, each brighter than the last."""
    grey = torch.arange(20)[:, None, None, None].mul(10).byte().expand(20, 3, 64, 96).contiguous()
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "ramp.mp4", grey, fps=10)
    return tmp_path / "videos"


def without(monkeypatch: pytest.MonkeyPatch, **chances: float) -> None:
    for name, value in chances.items():
        monkeypatch.setattr(scenes, name, value)


def test_files_are_classes_and_paths_videos(pictures: Path) -> None:
    source = open_source(ScenesConfig(str(pictures), paths=PATHS))
    assert source.name == "pictures" and source.classes == ("deep/grey", "slope")
    assert len(source) == 2 * PATHS
    entry = source.describe(PATHS + 2)
    assert (entry.key, entry.label, entry.frames, entry.size) == ("slope/2", 1, FRAMES, (SIDE, SIDE))
    with pytest.raises(IndexError):
        source.describe(2 * PATHS)
    with pytest.raises(ValueError, match="has 64 frames"):
        source.read(0, 60, 5, 1)


def test_files_that_differ_in_their_suffix_keep_it(pictures: Path) -> None:
    save(pictures / "slope.jpg", gradient(80, 80))
    assert ScenesSource(ScenesConfig(str(pictures))).classes == ("deep/grey", "slope.jpg", "slope.png")


def test_frames_are_the_same_however_they_are_asked_for(pictures: Path, cutouts: Path, video: Path) -> None:
    (pictures / "ramp.mp4").symlink_to(video / "ramp.mp4")
    config = ScenesConfig(str(pictures), str(cutouts), paths=PATHS)
    first, second = ScenesSource(config), ScenesSource(config)
    for index in range(0, len(first), 2):
        whole = first.read(index, 0, FRAMES, 1)
        assert whole.shape == (FRAMES, 3, SIDE, SIDE) and whole.dtype == torch.uint8
        for start, count, step in ((0, FRAMES, 1), (7, 5, 4), (50, 14, 1), (1, 8, 8)):
            part = second.read(index, start, count, step)
            wanted = whole[start : start + (count - 1) * step + 1 : step]
            assert torch.equal(part, wanted)
    assert not torch.equal(first.read(0, 0, 1, 1), first.read(PATHS, 0, 1, 1))


def test_still_views_of_pictures_are_still(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, CUT=0)
    source = ScenesSource(ScenesConfig(str(pictures), paths=40))
    clips = [source.read(40 + path, 0, 16, 4) for path in range(40)]
    still = [bool((clip == clip[0]).all()) for clip in clips]
    assert 0.05 < np.mean(still) < 0.5


def files_shown(source: ScenesSource, index: int) -> list[str]:
    return [name for name in source.identities(index) if name.startswith("file:")]


def test_cuts_cut(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, CUT=1, ELSEWHERE=1)
    source = ScenesSource(ScenesConfig(str(pictures), paths=20))
    shown = [files_shown(source, index) for index in range(len(source))]
    assert all(names[0].endswith("deep/grey.jpg") for names in shown[:20])
    both = [index for index in range(20) if len(shown[index]) == 2]
    assert len(both) > 5
    for index in both:
        clip = source.read(index, 0, FRAMES, 1).float()
        assert clip[0].std() < 2  # grey; the other file is not
        jump = (clip[1:] - clip[:-1]).abs().mean((1, 2, 3)).argmax()
        assert clip[jump].std() < 2 < clip[jump + 1].std() or clip[jump + 1].std() < 2 < clip[jump].std()


def test_without_cuts_a_path_shows_one_file(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, CUT=0)
    source = ScenesSource(ScenesConfig(str(pictures), paths=20))
    assert {len(files_shown(source, index)) for index in range(len(source))} == {1}


def test_cutouts_appear_and_move(tmp_path: Path, cutouts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "grey" / "a.png", torch.full((3, 150, 150), 128.0))
    without(monkeypatch, CUT=0)
    source = ScenesSource(ScenesConfig(str(tmp_path / "grey"), str(cutouts), paths=60))
    red = torch.stack([source.read(path, 0, 16, 4)[:, 0] > 200 for path in range(60)])
    seen = red.any(-1).any(-1)
    assert 0.15 < seen.any(1).float().mean() < 0.5
    moves = (red[:, 1:] != red[:, :-1]).flatten(2).any(-1)
    assert 0.3 < moves[seen.any(1)].float().mean() < 1
    plain = ScenesSource(ScenesConfig(str(tmp_path / "grey"), paths=60))
    assert all((plain.read(path, 0, 2, 9) == 128).all() for path in range(60))


def test_videos_move_and_turn_round(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, CUT=0)
    source = ScenesSource(ScenesConfig(str(video), paths=30))
    grey = torch.stack([source.read(path, 0, FRAMES, 1).float().mean((1, 2, 3)) for path in range(30)])
    steps = grey[:, 1:] - grey[:, :-1]
    frozen = (steps == 0).all(1)
    assert 0 < frozen.float().mean() < 0.4
    assert torch.allclose(steps[~frozen].abs(), torch.tensor(10.0), atol=4)
    assert (steps[~frozen] > 0).any(1).all() and (steps[~frozen] < 0).any(1).all()
    assert len(grey[:, 0].round().unique()) > 5


def test_forth_and_back() -> None:
    assert forth_and_back(np.arange(9), 4).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert forth_and_back(np.arange(3), 1).tolist() == [0, 0, 0]


def test_a_view_shows_its_part_of_the_picture() -> None:
    picture = gradient(2 * SIDE, 3 * SIDE)
    views = np.array([[SIDE, 2.0 * SIDE, SIDE, 0.0], [SIDE, 2.0 * SIDE, SIDE, np.pi / 2]])
    upright, turned = render(picture[None].byte(), views, part_seen(views), SIDE)
    cut = picture.byte()[:, SIDE // 2 : SIDE // 2 + SIDE, SIDE + SIDE // 2 : 2 * SIDE + SIDE // 2].float()
    assert (upright.float() - cut).abs().max() <= 1
    assert (turned.float() - cut.rot90(1, (1, 2))).abs().max() <= 1


def test_a_cutout_is_laid_where_it_belongs(cutouts: Path) -> None:
    frames = torch.full((3, 3, 100, 100), 100, dtype=torch.uint8)
    cutout = read_cutout(cutouts / "red.png")
    lay_over(frames, cutout, np.array([[0.3, 0.6, 0.2, 0.5], [0.0, 0.5, 0.2, 0.0], [3.0, 0.5, 0.2, 0.0]]), 0.2)
    red = (frames[:, 0] > 180) & (frames[:, 1] < 60)
    rows, columns = red[0].nonzero(as_tuple=True)
    centre = rows.float().mean().item(), columns.float().mean().item()
    assert centre == pytest.approx((29.5, 59.5), abs=0.5)
    whole, half = int(red[0].sum()), int(red[1].sum())
    assert whole == pytest.approx(np.pi * 10**2, rel=0.15) and half == pytest.approx(whole / 2, rel=0.15)
    assert (frames[2] == 100).all()


def test_bad_files_are_skipped_counted_and_named(
    pictures: Path, cutouts: Path, video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = (pictures / "slope.png").read_bytes()
    (pictures / "half.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "text.mp4").write_text("no pictures\n" * 50)
    save(cutouts / "opaque.png", gradient(20, 20))
    with pytest.raises(TooManyBadVideos, match=r"2 of the 4 .*half\.png"):
        ScenesSource(ScenesConfig(str(pictures)))
    with caplog.at_level(logging.WARNING, logger="evatok.data"):
        source = ScenesSource(ScenesConfig(str(pictures), str(cutouts), max_bad=0.5))
    reasons = {video.path: video.reason for bad in source.quarantines for video in bad.skipped}
    assert set(reasons) == {"half.png", "text.mp4", "opaque.png"} and all(reasons.values())
    assert reasons["opaque.png"] == "nothing of it is transparent"
    assert source.classes == ("deep/grey", "slope")
    assert "half.png" in caplog.text and "opaque.png" in caplog.text


def test_a_file_that_breaks_later_is_a_video_error(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, CUT=0)
    source = ScenesSource(ScenesConfig(str(pictures), paths=PATHS, max_bad=0.5))
    (pictures / "slope.png").write_bytes(b"gone")
    with pytest.raises(VideoError, match=r"slope\.png"):
        source.read(PATHS, 0, 4, 1)
    assert set(source.quarantines[0].failed) == {"slope.png"}
    assert source.read(0, 0, 4, 1).shape == (4, 3, SIDE, SIDE)


def test_a_cutout_that_breaks_later_is_named_by_its_path(pictures: Path, tmp_path: Path) -> None:
    save(tmp_path / "cutouts" / "deep" / "red.png", disc((255, 0, 0)))
    source = ScenesSource(ScenesConfig(str(pictures), str(tmp_path / "cutouts"), paths=60, max_bad=1.0))
    (tmp_path / "cutouts" / "deep" / "red.png").write_bytes(b"gone")
    with pytest.raises(VideoError, match=r"red\.png"):
        for index in range(60):  # in some of which it moves
            source.read(index, 0, 1, 1)
    assert set(source.quarantines[1].failed) == {"deep/red.png"}


def test_folders_without_anything_usable(tmp_path: Path, pictures: Path) -> None:
    empty = tmp_path / "empty"
    with pytest.raises(ValueError, match=r"empty does not exist"):
        ScenesSource(ScenesConfig(str(empty)))
    with pytest.raises(ValueError, match=r"folder of cut-outs .*empty does not exist"):
        ScenesSource(ScenesConfig(str(pictures), str(empty)))
    empty.mkdir()
    with pytest.raises(ValueError, match="no pictures or videos in"):
        ScenesSource(ScenesConfig(str(empty)))
    with pytest.raises(ValueError, match="no PNG files"):
        ScenesSource(ScenesConfig(str(pictures), str(empty)))
    save(empty / "opaque.png", gradient(20, 20))
    with pytest.raises(ValueError, match=r"none of the 1 .* is usable: opaque\.png"):
        ScenesSource(ScenesConfig(str(pictures), str(empty), max_bad=1.0))


def test_large_pictures_are_shrunk_and_turned(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", gradient(400, 800))
    assert read_picture(tmp_path / "a.jpg", 100).shape == (3, 100, 200)
    image = Image.open(tmp_path / "a.jpg")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "b.jpg", exif=exif)
    assert read_picture(tmp_path / "b.jpg", 100).shape == (3, 200, 100)


def test_configs_are_known_by_their_entries() -> None:
    entries = {"scenes": "a", "cutouts": None, "name": None, "paths": 3, "max_bad": 0.1, "weight": 2.0}
    assert source_config(entries) == ScenesConfig("a", paths=3, max_bad=0.1, weight=2.0)
    with pytest.raises(ValueError, match="paths must be at least 1, not 0"):
        ScenesConfig("a", paths=0)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_pictures_of_16_bits(tmp_path: Path, suffix: str) -> None:
    levels = np.array([[0, 257, 32896, 65535]], np.uint16).repeat(4, 0)
    Image.fromarray(levels).save(tmp_path / f"a{suffix}")
    assert read_picture(tmp_path / f"a{suffix}", 4)[1, 0].tolist() == [0, 1, 128, 255]
