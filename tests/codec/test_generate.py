"""`evatok generate`: what it writes, prints and refuses."""

from pathlib import Path

import pytest
import torch

from evatok.cli import main
from evatok.codec.generate import first_frames
from evatok.generator.model import VideoGenerator
from evatok.video.reading import read_video, write_video
from tests.generator.conftest import random_generator


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("generator")
    random_generator().save_pretrained(folder)
    return str(folder)


def test_all_in_one(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--class pong --class 1 -n 2 --grid --guidance 2 --assignment 4,8,0,4 --most-tokens 20 --seed 3"
    assert main(["generate", model, *words.split(), "-o", str(tmp_path / "out.mp4")]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"out.mp4", "out.png"}
    video = read_video(tmp_path / "out.mp4")
    assert len(video.frames) == 16 and video.fps == 8 and min(video.frames.shape[2:]) > 2 * 128
    out = " ".join(capsys.readouterr().out.split())
    assert out.count("| pong | 20 | 4,8,4,4 |") == out.count("| 1 | 20 | 4,8,4,4 |") == 2
    assert "20.0 tokens a clip on average" in out and "| 2 | 0% | 100% |" in out


def test_each_in_a_file(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is in the files is what the generator makes."""
    assert main(["generate", model, "-n", "2", "--seed", "5", "-o", str(tmp_path / "out.mkv")]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"out-1.mkv", "out-2.mkv", "out.png"}
    out = " ".join(capsys.readouterr().out.split())
    made = VideoGenerator.from_pretrained(model).generate([None, None], seed=5)
    grey = made.videos.float().mean(2)  # colours are halved in a file
    for number, tokens in enumerate(made.tokens):
        shown = read_video(tmp_path / f"out-{number + 1}.mkv").frames.float().mean(1)
        own, other = ((shown - each).abs().mean() for each in (grey[number], grey[1 - number]))
        assert own < 0.8 * other
        assert f"| {number + 1} | - | {tokens.num_tokens} | {tokens.assignments[0]} |" in out
    assert main(["generate", model, "-o", str(tmp_path / "one.mp4")]) == 0
    assert (tmp_path / "one.mp4").exists() and not (tmp_path / "one-1.mp4").exists()


def test_videos_go_on_from_the_first_frames_of_a_file(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are the middle of the picture at the generator's rate of 8 frames/s, whatever the file's is."""
    source = torch.zeros(40, 3, 48, 96, dtype=torch.uint8)
    source[:20, 1:], source[20:, :2] = 255, 255  # cyan for half a second, then yellow
    source[..., :20], source[..., -20:] = 0, 0  # which the middle has nothing of
    write_video(tmp_path / "in.mp4", source, fps=40)
    words = "--given 5 --class pong --class boxing --grid --assignment 0,0,4,4"
    output = ["-o", str(tmp_path / "out.mp4")]
    assert main(["generate", model, "--frames", str(tmp_path / "in.mp4"), *words.split(), *output]) == 0
    given = torch.full((5, 3, 32, 32), 0, dtype=torch.uint8)
    given[:4, 1:], given[4:, :2] = 255, 255
    generator = VideoGenerator.from_pretrained(model)
    shown = first_frames(tmp_path / "in.mp4", 5, generator.config)
    assert (shown.int() - given).abs().max() < 12
    made = generator.generate(["pong", "boxing"], shown.expand(2, -1, -1, -1, -1), assignment=(0, 0, 4, 4))
    out = " ".join(capsys.readouterr().out.split())
    assert made.tokens[0].assignments == ("8,4,4,4",)
    for number, (name, tokens) in enumerate(zip(("pong", "boxing"), made.tokens, strict=True), 1):
        assert f"| {number} | {name} | {tokens.num_tokens} | {tokens.assignments[0]} |" in out
    assert len(read_video(tmp_path / "out.mp4").frames) == 16 and (tmp_path / "out.png").exists()


def test_frames_that_cannot_be_given_are_told(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = str(tmp_path / "in.mp4")
    write_video(video, torch.zeros(10, 3, 32, 32, dtype=torch.uint8), fps=5)
    for words, said in (
        ("--given 0", "at least 1 frame can be given, not 0"),
        ("--given 13", "at most 12 frames can be given, of videos of 16; got 13"),
        ("--given 17", f"'{video}' has 16 frames at the generator's 8 a second; 17 are to be given"),
        (f"-o {video}", f"cannot write {video}: it is the input {video}"),
        ("--frames nowhere.mp4", "cannot read video 'nowhere.mp4'"),
    ):
        assert main(["generate", model, "--frames", video, *words.split()]) == 1
        out, err = capsys.readouterr()
        assert out == "" and said in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--class chess", "class 'chess' is none of the 2: pong, boxing"),
        ("--class 2", "class 2 is none of the 2"),
        ("-n 0", "at least 1 video of a class can be made, not 0"),
        ("--temperature -1", "temperature must be at least 0, got -1.0"),
        ("--top-p 2", "top_p must be above 0 and at most 1"),
        ("--most-tokens 3", "most_tokens is 3; a clip of the lengths (0, 0, 0, 0) has at least 16"),
        ("--assignment 4,4", "assignment must be integers of shape (4,)"),
        ("--assignment 4,x", "must be whole numbers with commas between"),
        ("--rows 0", "rows 1, got 0"),
        ("-o out.gif", "its name ends in '.gif', not in one of .mp4"),
        ("-o nowhere/out.mp4", "cannot write nowhere/out.mp4: there is no such folder"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(
    model: str,
    words: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["generate", model, *words.split()]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())
