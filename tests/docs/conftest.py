"""A folder that has what the pages take for granted: a video, folders of videos, what earlier commands have made."""

import shutil
from pathlib import Path

import pytest
import torch

from evatok.cli import main
from evatok.data.toy.footage import FILES
from evatok.video.reading import write_video
from tests.docs.pages import ROOT
from tests.docs.running import shrunk

WEIGHTS = ROOT / "src" / "evatok" / "weights"


def _video(path: Path, frames: int, seed: int) -> None:
    """A noisy picture that moves, 45 high and 80 wide."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = torch.randint(256, (3, 9, 16), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    wide = picture.repeat_interleave(5, 1).repeat_interleave(5, 2)
    write_video(path, torch.stack([wide.roll(3 * t, 2) for t in range(frames)]), fps=24)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as it is before any of the commands."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "configs").symlink_to(ROOT / "configs")
    for name in ("my.yaml", "run.yaml"):
        shutil.copy(ROOT / "configs" / "tiny" / "proxy.yaml", folder / name)
    _video(folder / "in.mp4", 19, 0)
    for number, name in enumerate(("videos/walking/a.mp4", "videos/running/b.mp4", "held_out/a.mp4")):
        _video(folder / "my" / name, 40, number)
    assert main(["encode", str(folder / "in.mp4"), "-o", str(folder / "out.tokens")]) == 0
    videos = f"[{{folder: {folder / 'my' / 'videos'}}}]"
    words = ["tokenize", "--data", videos, "--tokenizer", "evatok-tiny", "-o", str(folder / "my" / "tokens")]
    assert main(words) == 0
    for name in ("mine/final", "tiny-proxy/final", "tiny-proxy/checkpoints/step_00001000/export"):
        shutil.copytree(WEIGHTS / "evatok-tiny-proxy", folder / "runs" / name)
    shutil.copytree(WEIGHTS / "evatok-tiny-router", folder / "runs" / "tiny-router" / "final")
    shutil.copytree(WEIGHTS / "evatok-tiny-ale", folder / "runs" / "games-generator" / "final")
    return folder


@pytest.fixture(scope="module")
def chained(prepared: Path) -> Path:
    """A folder that has what all commands together take for granted, in which one leaves what the next one needs.

    It is `runs/documented`, and stays: single commands can so be run again.
    """
    folder = ROOT / "runs" / "documented"
    if not folder.exists():
        partial = folder.with_name("documented.part")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(prepared, partial, ignore=shutil.ignore_patterns("configs"))
        (partial / "examples").symlink_to(ROOT / "examples")
        shutil.copytree(ROOT / "docs" / "results", partial / "docs" / "results")
        for config in ROOT.glob("configs/**/*.yaml"):
            (partial / config.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            (partial / config.relative_to(ROOT)).write_text(shrunk(config.read_text()))
        for name in ("my.yaml", "run.yaml"):
            shutil.copy(partial / "configs" / "tiny" / "proxy.yaml", partial / name)
        for number, name in enumerate(name for names in FILES.values() for name in names):
            _video(partial / "sample-videos" / name, 40, number)
        for name in ("videos", "held_out"):
            words = [str(partial / "my" / name), "-o", str(partial / "my" / f"{name}.parquet"), "--processes", "1"]
            assert main(["data", "scan", *words]) == 0
        partial.rename(folder)
    return folder


@pytest.fixture
def workplace(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which a test works."""
    shutil.copytree(prepared, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"
