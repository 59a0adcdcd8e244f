"""The commands of docs/data.md, on a folder of small videos: scan, shards, fine-tuning, reconstruction."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from evatok.cli import main
from evatok.data.manifest import read_manifest
from evatok.video.reading import probe, write_video

ROOT = Path(__file__).parent.parent.parent
# So that training takes seconds: two steps, of few clips.
SHORT = [
    *("--loop.steps=2", "--loop.workers=0", "--loop.validate_every=2", "--loop.checkpoint_every=2"),
    *("--loop.precision=no", "--data.group=2", "--data.validation_clips=2", "--loss.perceptual_frames=1"),
]


def commands() -> list[list[str]]:
    """The commands of the page's first indented block, without the program's name."""
    page = (ROOT / "docs" / "data.md").read_text()
    block = re.search(r"\n\n((?:    .*\n)+)", page)
    assert block is not None
    lines = block[1].replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder with `my/videos`, where one file is broken, and `my/held_out`."""
    names = ("videos/walking/a.mp4", "videos/walking/b.mkv", "videos/running/c.mp4", "held_out/a.mp4", "held_out/b.mp4")
    for seed, name in enumerate(names):
        generator = torch.Generator().manual_seed(seed)
        picture = torch.randint(0, 256, (3, 9, 12), generator=generator, dtype=torch.uint8)
        wide = picture.repeat_interleave(8, 1).repeat_interleave(8, 2)
        path = tmp_path / "my" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, torch.stack([wide.roll(t, 2) for t in range(24)]), fps=12)
    whole = (tmp_path / "my/videos/walking/a.mp4").read_bytes()
    (tmp_path / "my/videos/broken.mp4").write_bytes(whole[: len(whole) // 2])
    return tmp_path


def test_the_commands_of_the_page(
    videos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(videos)
    (videos / "configs").symlink_to(ROOT / "configs")
    said = []
    for words in commands():
        assert main([*words, *(SHORT if words[:2] == ["train", "proxy"] else ())]) == 0, words
        said.append(capsys.readouterr().out)
    scanned, held_out, shards, trained, compared = said
    assert "3 good videos: 72 frames" in scanned and "broken.mp4: it breaks off" in scanned
    assert "2 good videos: 48 frames" in held_out and "0 bad videos" in held_out
    assert (
        re.search(r"3 videos, 0\.\d MB in 1 shards at my/shards", shards)
        and "left out: broken.mp4: it breaks off" in shards
    )
    assert trained == "The trained tokenizer is in runs/mine/final\n"
    record = json.loads((videos / "runs/mine/final/training.json").read_text())
    assert record["config"]["init_from"] == "evatok-tiny-proxy" and record["clips"] == 4
    assert record["config"]["data"]["train"][0]["shards"] == "my/shards"
    assert {row.label for row in read_manifest("my/shards/manifest.parquet")} == {"walking", "running"}
    assert "comparison holds reconstruction.mp4" in compared
    assert probe(videos / "comparison" / "reconstruction.mp4").size == (72, 96)


def test_what_is_in_both_is_refused(
    videos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also under another name: both sides were scanned."""
    monkeypatch.chdir(videos)
    (videos / "configs").symlink_to(ROOT / "configs")
    (videos / "my/held_out/other name.mp4").write_bytes((videos / "my/videos/walking/a.mp4").read_bytes())
    scan_one, scan_other, shards, train, _ = commands()
    for words in (scan_one, scan_other, shards):
        assert main(words) == 0
    capsys.readouterr()
    assert main([*train, *SHORT]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "evatok: 1 videos of validation are in training: held_out:other name.mp4 is shards:walking/a.mp4"
    assert not (videos / "runs/mine/final").exists()
