"""Videos to tokens and back through the command line, and what it says when something is wrong."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evatok.allocation.calibration import Calibration
from evatok.allocation.reward import ProxyReward
from evatok.cli import main
from evatok.nn.transformer import TransformerConfig
from evatok.router.config import RouterConfig
from evatok.router.model import Router
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.tokens import Tokens
from evatok.video.reading import read_video, write_video
from tests.conftest import MINI

FRAMES = 37


def moving(frames: int, height: int = 40, width: int = 56) -> Tensor:
    """A bright bar that moves over a gradient."""
    ground = torch.linspace(40, 160, width).expand(frames, 3, height, width).to(torch.uint8).clone()
    for frame in range(frames):
        ground[frame, :, :, frame % width] = 250
    return ground


def save_tokenizer(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    VideoTokenizer(MINI).save_pretrained(folder)
    return folder


def give_router(tokenizer: Path) -> None:
    """A router that thinks the same of every clip: 8 tokens gain 0.4 in the first block and 0.02 in any other."""
    calibration = Calibration(ProxyReward(0.5, 0.1, 24.0, 4.0), 1.2, (0.0, 0.1), (30.0, 16.0))
    config = RouterConfig((4, 8), side=16, transformer=TransformerConfig(32, 1, 2), calibration=calibration)
    router = Router(config)
    gains = [0.4 if block == 0 else 0.02 for block in range(4)]
    table = [0.5 - gain * (prefix % 2) for block, gain in enumerate(gains) for prefix in range(2 ** (block + 1))]
    router.network.mean.copy_(torch.tensor(table))
    router.save_pretrained(tokenizer / "router")


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    return str(save_tokenizer(tmp_path / "model", 0))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    write_video(tmp_path / "in.mp4", moving(FRAMES), fps=12)
    return tmp_path / "in.mp4"


def run(*words: object) -> int:
    return main([str(word) for word in words])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_video_becomes_tokens_and_a_video_again(
    tmp_path: Path, tokenizer: str, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens_path, back = tmp_path / "out.tokens", tmp_path / "back.mp4"
    assert run("encode", video, "-o", tokens_path, "--tokenizer", tokenizer, "--assignment", "8,4,4,8") == 0
    tokens = Tokens.load(tokens_path)
    assert tokens.assignments == ("8,4,4,8", "8,4,4,8", "8,4")
    assert f"{tokens.num_tokens} tokens" in capsys.readouterr().out
    assert run("decode", tokens_path, "-o", back, "--tokenizer", tokenizer) == 0
    decoded = read_video(back)
    assert decoded.frames.shape == (FRAMES, 3, 40, 56)
    assert decoded.fps == pytest.approx(12)


def test_a_tokenizer_with_a_router_decides_itself(
    tmp_path: Path, tokenizer: str, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    give_router(Path(tokenizer))
    path, words = tmp_path / "out.tokens", ["--tokenizer", tokenizer]

    def routed(*wish: object) -> tuple[str, ...]:
        assert run("encode", video, "-o", path, *words, *wish) == 0
        tokens = Tokens.load(path)
        assert f"{tokens.num_tokens} tokens, {tokens.tokens_per_second():.1f} tokens/s" in capsys.readouterr().out
        return tokens.assignments

    assert routed() == ("8,4,4,4", "8,4,4,4", "8,4")
    assert routed("--w-q", 2) == ("8,8,8,8", "8,8,8,8", "8,8") == routed("--tokens", 30)
    assert routed("--w-q", 0.1) == ("4,4,4,4", "4,4,4,4", "4,4") == routed("--tokens", 16)
    assert routed("--tokens-per-second", 18) == ("8,4,4,4", "8,4,4,4", "8,4")
    assert routed("--uniform", 8) == ("8,8,8,8", "8,8,8,8", "8,8")
    assert run("reconstruct", video, "-o", tmp_path / "again", *words, "--w-q", 0.1) == 0
    assert "4,4,4,4" in capsys.readouterr().out


def test_decoding_takes_the_tokenizer_that_the_tokens_name(
    tmp_path: Path, tokenizer: str, video: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens, back = tmp_path / "out.tokens", tmp_path / "back.mp4"
    assert run("encode", video, "-o", tokens, "--tokenizer", tokenizer, "--uniform", 4) == 0
    monkeypatch.chdir(tmp_path / "model")
    assert run("decode", tokens, "-o", back) == 1
    said = capsys.readouterr().err
    assert "'model'" in said and "--tokenizer" in said
    monkeypatch.chdir(tmp_path)
    assert run("decode", tokens, "-o", back) == 0


def test_irregular_times_come_back(tmp_path: Path, tokenizer: str) -> None:
    times = torch.tensor([0, 0.1, 0.15, 0.4, 0.5, 0.9, 1.0], dtype=torch.float64)
    write_video(tmp_path / "in.mkv", moving(7), fps=10, times=times)
    for folder, command in (("out.tokens", "encode"), ("both", "reconstruct")):
        assert run(command, tmp_path / "in.mkv", "-o", tmp_path / folder, "--tokenizer", tokenizer) == 0
    assert run("decode", tmp_path / "out.tokens", "-o", tmp_path / "out.mp4", "--tokenizer", tokenizer) == 0
    for made in ("out.mp4", "both/reconstruction.mp4", "both/side_by_side.mp4"):
        torch.testing.assert_close(read_video(tmp_path / made).times, times, atol=1e-3, rtol=0)


def test_reconstruct_writes_all_of_its_files(
    tmp_path: Path, tokenizer: str, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    assert run("reconstruct", video, "-o", folder, "--tokenizer", tokenizer, "--uniform", "8", "--fit", "crop") == 0
    assert names(folder) == {
        "metrics.json", "picture.png", "reconstruction.mp4", "side_by_side.mp4", "tokens.tokens"
    }  # fmt: skip
    assert read_video(folder / "reconstruction.mp4").frames.shape == (FRAMES, 3, 40, 40)
    assert len(read_video(folder / "side_by_side.mp4").frames) == FRAMES
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["tokens"] == 8 * 10 and metrics["tokens_per_second"] == pytest.approx(80 / (FRAMES / 12))
    assert metrics["bits_per_pixel"] == pytest.approx((80 * 6 + 10) / (FRAMES * 40 * 56))
    table = capsys.readouterr().out
    assert "at 32x32" in table and f"{metrics['psnr']:.2f}" in table


def cells(line: str) -> list[str]:
    """Of a line of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_demo_writes_every_length(
    tmp_path: Path, tokenizer: str, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("demo", "-o", tmp_path / "demo", "--tokenizer", tokenizer, "--video", video) == 0
    assert names(tmp_path / "demo") == {"4.tokens", "8.tokens", "reconstructions.png", "side_by_side.mp4"}
    rows = capsys.readouterr().out.splitlines()
    assert [cells(row)[:2] for row in rows[3:5]] == [["4,4,4,4", "40"], ["8,8,8,8", "80"]]


def test_demo_shows_what_a_router_chooses(
    tmp_path: Path, tokenizer: str, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    give_router(Path(tokenizer))
    assert run("demo", "-o", tmp_path / "demo", "--tokenizer", tokenizer, "--video", video) == 0
    out = capsys.readouterr().out.splitlines()
    assert "adaptive.png" in names(tmp_path / "demo") and "adaptive.png" in out[-1]
    rows = [cells(row)[:3] for row in out[-7:-1]]
    assert [row[:2] for row in rows[2:]] == [
        [clip, choice] for clip in ("in, its first frame", "in") for choice in ("best fixed", "router")
    ]
    assert rows[-1] == ["in", "router", "52"]


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on stderr."""
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("evatok: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize("name", ["missing.mp4", "text.mp4", "empty.mp4", "."])
@pytest.mark.parametrize("command", ["encode", "reconstruct", "demo"])
def test_what_is_no_video(
    tmp_path: Path, tokenizer: str, name: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    before = names(tmp_path)
    video = ["--video", tmp_path / name] if command == "demo" else [tmp_path / name]
    assert run(command, *video, "-o", tmp_path / "out", "--tokenizer", tokenizer) == 1
    assert str(tmp_path / name) in complaint(capsys)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--assignment", "8,4,4"], 1, "of shape (4,) or (1, 4)"),
        (["--assignment", "8,4,4,5"], 1, "has 5 tokens; levels are (4, 8)"),
        (["--uniform", "5"], 1, "levels are (4, 8)"),
        (["--assignment", "8,4,x,4"], 2, "8,4,x,4"),
        (["--assignment", "8,4,4,4", "--uniform", "4"], 2, "not allowed with"),
        (["--w-q", "1.2"], 1, "w_q needs a router"),
        (["--tokens-per-second", "50"], 1, "tokens_per_second needs a router"),
        (["--tokens", "many"], 2, "many"),
        (["--w-q", "1.2", "--tokens", "20"], 2, "not allowed with"),
        (["--fit", "squash"], 2, "squash"),
        (["--fps", "0"], 1, "fps"),
        (["--fps", "x"], 2, "fps"),
    ],
)
def test_what_is_no_assignment_fit_or_rate(
    tmp_path: Path,
    tokenizer: str,
    video: Path,
    words: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = names(tmp_path)
    for command in ("encode", "reconstruct"):
        assert run(command, video, "-o", tmp_path / "out", "--tokenizer", tokenizer, *words) == code
        assert said in complaint(capsys)
    assert names(tmp_path) == before


def test_what_is_no_tokenizer(tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", video, "-o", tmp_path / "out", "--tokenizer", "nowhere") == 1
    assert "nowhere" in complaint(capsys)
    (tmp_path / "hollow").mkdir()
    assert run("encode", video, "-o", tmp_path / "out", "--tokenizer", tmp_path / "hollow") == 1
    assert "config.json" in complaint(capsys)
    assert names(tmp_path) == {"in.mp4", "hollow"}


def test_token_files_that_are_broken_or_of_another_model(
    tmp_path: Path, tokenizer: str, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole.tokens"
    assert run("encode", video, "-o", whole, "--tokenizer", tokenizer) == 0
    (tmp_path / "cut.tokens").write_bytes(whole.read_bytes()[:-3])
    Tokens.cat([Tokens.load(whole)] * 2).save(tmp_path / "two.tokens")
    other = save_tokenizer(tmp_path / "other", 1)
    before = names(tmp_path)
    capsys.readouterr()
    for source, made_by, said in (
        ("cut.tokens", tokenizer, "damaged or cut short"),
        ("in.mp4", tokenizer, "no token file"),
        ("missing.tokens", tokenizer, "No such file"),
        ("two.tokens", tokenizer, "2 videos"),
        ("whole.tokens", other, "tokens were made by model"),
    ):
        assert run("decode", tmp_path / source, "-o", tmp_path / "out.mp4", "--tokenizer", made_by) == 1
        assert said in complaint(capsys)
    assert names(tmp_path) == before


def test_targets_that_cannot_be_written(
    tmp_path: Path, tokenizer: str, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = video.read_bytes()
    for target in (tmp_path / "nowhere" / "out", f"{video}/", video, tmp_path / "model" / ".." / "in.mp4"):
        assert run("encode", video, "-o", target, "--tokenizer", tokenizer) == 1
        assert str(Path(target)) in complaint(capsys)
    assert run("reconstruct", video, "-o", video, "--tokenizer", tokenizer) == 1
    assert "is no folder" in complaint(capsys)
    assert run("encode", video, "-o", tmp_path / "t.tokens", "--tokenizer", tokenizer) == 0
    capsys.readouterr()
    assert run("decode", tmp_path / "t.tokens", "-o", tmp_path / "out.gifs", "--tokenizer", tokenizer) == 1
    assert ".mp4" in complaint(capsys)
    assert video.read_bytes() == before and names(tmp_path) == {"in.mp4", "model", "t.tokens"}
