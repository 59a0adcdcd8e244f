"""The examples run as scripts, made small, and leave what they say."""

import runpy
import sys
from pathlib import Path

import pytest

from evatok import Router, Tokens, VideoTokenizer
from evatok.video.reading import read_video
from tests.docs.pages import ROOT

EXAMPLES = ROOT / "examples"


def run(name: str, *words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs an example in this process, as `python examples/NAME WORDS` does."""
    monkeypatch.setattr(sys, "argv", [name, *words])
    monkeypatch.syspath_prepend(EXAMPLES)
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_folder_is_tokenized(monkeypatch: pytest.MonkeyPatch) -> None:
    run("tokenize_folder.py", "--videos", "2", monkeypatch=monkeypatch)
    folder = Path("runs/example-tokens")
    tokens = {path.name: Tokens.load(path) for path in folder.glob("*.tokens")}
    assert {*tokens} == {"still-0.tokens", "slow-1.tokens"} and all(each.num_clips == 3 for each in tokens.values())
    assert len(read_video(folder / "slow-1.mp4").frames) == 48


def test_a_folder_of_one_s_own_is_tokenized(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("tokenize_folder.py", "--folder", str(video_folder), "--output", "out", monkeypatch=monkeypatch)
    assert {path.name for path in Path("out").iterdir()} == {"0.tokens", "1.tokens", "0.mp4"}


def test_a_router_is_trained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("train_router.py", "--clips", "2", "--steps", "2", monkeypatch=monkeypatch)
    tokenizer = VideoTokenizer.from_pretrained("runs/example-router/adaptive")
    trained = Router.from_pretrained("runs/example-router/router/final")
    assert tokenizer.router is not None and tokenizer.router.checksum == trained.checksum
    assert capsys.readouterr().out.count("tokens a second") == 6


def test_videos_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    run("sample.py", "--classes", "pong", monkeypatch=monkeypatch)
    folder = Path("runs/example-samples")
    assert {path.name for path in folder.iterdir()} == {"pong.mp4", "pong-followed.mp4"}
    assert len(read_video(folder / "pong.mp4").frames) == 16


def test_made_up_videos_differ_in_how_much_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from made_up import write_videos

    write_videos(tmp_path, 3, frames=4)
    names = ("still/0.mp4", "slow/1.mp4", "wild/2.mp4")
    still, slow, wild = (read_video(tmp_path / name).frames.float().diff(dim=0).abs().mean() for name in names)
    assert still < slow < wild
