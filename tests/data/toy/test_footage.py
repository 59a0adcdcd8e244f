"""A camera's recordings, shrunk; small videos made here, no network."""

import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from evatok.cli import FAILED, main
from evatok.data.toy import footage
from evatok.data.toy.footage import FILES, prepare_footage
from evatok.utils.packages import PackageError
from evatok.video.reading import probe, read_clip, write_video


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recordings, of which each has a brightness of its own."""
    few = {"train": ("car-detection.mp4", "asl_gestures/no.mkv"), "validation": ("asl_gestures/yes.mkv",)}
    monkeypatch.setattr(footage, "FILES", few)
    for number, name in enumerate(name for names in few.values() for name in names):
        path = tmp_path / "recordings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = torch.full((6 + number, 3, 72, 96), 60 + 60 * number, dtype=torch.uint8)
        write_video(path, frames, fps=12.5 if number == 0 else 30)
    return tmp_path / "recordings"


def test_what_is_held_out() -> None:
    assert [Path(name).stem for name in FILES["validation"]] == [
        *("one-by-one-person-detection", "student", "thanks", "walk", "want", "yes")
    ]
    assert len(FILES["train"]) == len(set(FILES["train"])) == 17
    assert not set(FILES["train"]) & set(FILES["validation"])


def test_recordings_are_shrunk(recordings: Path, tmp_path: Path) -> None:
    destination = tmp_path / "made" / "footage"
    counts = prepare_footage(destination, recordings, height=36)
    assert counts == {"train": (2, 13), "validation": (1, 8)}
    written = {path.relative_to(destination).as_posix(): path for path in destination.rglob("*.mp4")}
    assert set(written) == {"train/car-detection.mp4", "train/no.mp4", "validation/yes.mp4"}
    for (name, path), fps, value in zip(sorted(written.items()), (12.5, 30, 30), (60, 120, 180), strict=True):
        info = probe(path)
        assert info.size == (36, 48) and info.fps == pytest.approx(fps), name
        assert read_clip(path, 2, 1).float().mean() == pytest.approx(value, abs=4)
    credits = (destination / "CREDITS.md").read_text()
    assert "CC-BY 4.0" in credits and "- validation/yes.mp4: asl_gestures/yes.mkv" in credits
    assert [path.name for path in destination.parent.iterdir()] == ["footage"]
    assert prepare_footage(destination, tmp_path / "gone") == counts


def test_nothing_is_left_when_the_work_breaks_off(recordings: Path, tmp_path: Path) -> None:
    destination = tmp_path / "made" / "footage"
    with pytest.raises(ValueError, match="height must be an even number"):
        prepare_footage(destination, recordings, height=35)
    (recordings / "asl_gestures" / "yes.mkv").unlink()
    with pytest.raises(PackageError, match=r"no yes\.mkv in .*sample-videos"):
        prepare_footage(destination, recordings)
    assert not destination.exists() and not list(tmp_path.glob("made/*"))


def test_fetching(recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footage, "REPOSITORY", "file://nowhere")
    opened = urllib.request.urlopen

    def local(url: str, timeout: float) -> object:
        return opened(url.replace("file://nowhere/raw/master", recordings.as_uri()), timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", local)
    assert prepare_footage(tmp_path / "made", height=36)["train"].videos == 2

    def offline(url: str, timeout: float) -> object:
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(PackageError, match=r"could not fetch car-detection\.mp4: .*no network.* 'git clone .* --from"):
        prepare_footage(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_command(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = str(tmp_path / "made")
    assert main(["data", "footage", made, "--from", str(recordings), "--height", "36"]) == 0
    assert f"{made}/train: 2 videos, 13 frames" in capsys.readouterr().out
    assert main(["data", "footage", str(recordings)]) == FAILED
    assert "exists and holds no videos" in capsys.readouterr().err
