"""Token sets of mini videos: what `encode` gives, resumed, with bad videos, refused where it does not belong."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evatok.cli import main
from evatok.codec import token_parts
from evatok.codec.token_parts import PartTokenizer, TokenizeConfig
from evatok.codec.tokenize import tokenize
from evatok.data.clips import centre_box, crop_and_resize
from evatok.data.folders import FileConfig, FolderConfig, FolderSource
from evatok.data.quarantine import TooManyBadVideos
from evatok.router.model import Router
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.token_set import TokenSet
from evatok.tokens.tokens import Tokens
from evatok.utils.parts import Part
from evatok.video.reading import VideoError, read_video, write_video
from tests.conftest import MINI, random_tokenizer
from tests.stages.routers import mini_router

FRAMES = {"cats/0.mp4": 70, "cats/1.mp4": 33, "dogs/0.mp4": 16, "dogs/short.mp4": 15, "dogs/1.mp4": 50}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of moving noise in two classes, in order of their names 4, 2, 1, 3 and 0 full clips of 16 frames."""
    folder = tmp_path_factory.mktemp("data") / "animals"
    for seed, (name, frames) in enumerate(FRAMES.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture = torch.randint(0, 256, (3, 6, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
        wide = picture.repeat_interleave(8, 1).repeat_interleave(8, 2)
        write_video(folder / name, torch.stack([wide.roll(t * seed // 2, 2) for t in range(frames)]), fps=12)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "mini"
    known = mini_router()
    prices, tokens = (0.0005, 0.002, 0.02), (30.0, 22.0, 16.0)
    calibration = replace(known.calibration, prices=prices, tokens=tokens, lpips_per_mse=0.01)
    router = Router(replace(known.config, calibration=calibration))
    router.load_state_dict(known.state_dict())
    random_tokenizer(MINI).set_router(router).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def config(videos: Path, model: str) -> TokenizeConfig:
    return TokenizeConfig(data=[FolderConfig(str(videos), min_frames=1)], tokenizer=model, batch=3, part=5)


def crops(path: Path, stride: int, size: tuple[int, int], mirrored: bool) -> Tensor:
    """The full clips of a file as one video `(1, F, 3, h, w)`."""
    frames = read_video(path).frames[::stride]
    full = frames[: len(frames) // 16 * 16]
    video = crop_and_resize(full, centre_box((48, 64), size), size)[None]
    return video.flip(-1) if mirrored else video


WISHES: dict[str, dict[str, Any]] = {
    "the router's own": {},
    "an assignment": {"assignment": [8, 4, 8, 4]},
    "uniform": {"uniform": 4},
    "w_q": {"w_q": 1.5},
    "tokens": {"tokens": 20.0},
    "tokens a second, by its video": {"tokens_per_second": 16.0},
    "beam": {"beam": 2, "beam_metric": "mse"},
}


@pytest.mark.parametrize(
    ("wishes", "stride", "size", "mirrored"),
    [
        (WISHES["the router's own"], 1, (32, 32), True),
        (WISHES["an assignment"], 2, (24, 40), True),
        *((wish, 1, (32, 32), False) for name, wish in list(WISHES.items())[2:]),
    ],
    ids=list(WISHES),
)
def test_tokens_are_those_of_encode(
    config: TokenizeConfig,
    videos: Path,
    tmp_path: Path,
    wishes: dict[str, Any],
    stride: int,
    size: tuple[int, int],
    mirrored: bool,
) -> None:
    asked = replace(config, **wishes, size=size, frame_stride=stride, mirrored=mirrored)
    made = tokenize(asked, tmp_path / "set")
    model = VideoTokenizer.from_pretrained(config.tokenizer)
    # In order of their names; too short ones have no full clip.
    files = [name for name in sorted(FRAMES) if FRAMES[name] >= 16 * stride - stride + 1]
    copies = [(name, flipped) for name in files for flipped in ((False, True) if mirrored else (False,))]
    expected: list[Tokens] = [
        model.encode(crops(videos / name, stride, size, flipped), **wishes, fit="none", fps=12 / stride)
        for name, flipped in copies
    ]
    assert made.ids.tolist() == torch.cat([each.ids for each in expected]).tolist()
    assert made.lengths.tolist() == [row for each in expected for row in each.lengths.tolist()]
    clips = [
        (files.index(name), int(name.startswith("dogs")), clip, flipped)
        for (name, flipped), tokens in zip(copies, expected, strict=True)
        for clip in range(tokens.num_clips)
    ]
    assert made.videos.tolist() == [row[0] for row in clips] and made.labels.tolist() == [row[1] for row in clips]
    assert made.clips.tolist() == [row[2] for row in clips] and made.mirrored.tolist() == [row[3] for row in clips]
    assert made.format == model.token_format and made.classes == ("cats", "dogs")
    assert (made.picture, made.fps) == (size, 12 / stride)


def test_a_set_says_what_it_is(config: TokenizeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="evatok"):
        made = tokenize(replace(config, mirrored=True), tmp_path / "set")
    assert "20 clips of 4 videos, 20 of them in 2 parts to be written; 4 last clips are not full" in caplog.text
    assert "the set will take about" in caplog.text
    how = made.how
    assert (how["videos"], how["clips"], how["incomplete"], how["skipped"]) == (4, 20, 4, {})
    assert (how["tokenizer"], how["checksum"]) == (made.format.model, made.format.checksum)
    assert how["data"][0]["folder"] == config.data[0].folder and how["request"]["beam"] == 0  # type: ignore[attr-defined]
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "part-00000.parquet",
        "part-00001.parquet",
        "tokens.json",
    ]


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_that_was_killed_goes_on_to_the_same_set(
    config: TokenizeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenize(config, tmp_path / "whole")
    write = PartTokenizer.__call__

    def killed(self: PartTokenizer, part: Part, done: Callable[[int], object]) -> None:
        if part.path.endswith("1.parquet"):
            raise KeyboardInterrupt
        write(self, part, done)

    monkeypatch.setattr(PartTokenizer, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        tokenize(config, tmp_path / "again")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="is unfinished, 1 of 2 parts are there"):
        TokenSet.open(tmp_path / "again")
    kept = (tmp_path / "again" / "part-00000.parquet").stat().st_mtime_ns
    tokenize(replace(config, batch=4), tmp_path / "again")
    assert (tmp_path / "again" / "part-00000.parquet").stat().st_mtime_ns == kept
    assert parts(tmp_path / "again") == parts(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uniform": 4}, "differs in: request; choose"),
        ({"mirrored": True}, "differs in: clips, mirrored; choose"),
        ({"part": 1}, "differs in: part, parts; choose"),
        ({"fps": 24.0, "size": (40, 32)}, "differs in: fps, picture; choose"),
    ],
)
def test_another_set_in_the_same_folder_is_refused(
    config: TokenizeConfig, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    tokenize(config, tmp_path / "set")
    before = parts(tmp_path / "set")
    with pytest.raises(ValueError, match=f"holds another token set, which {said}"):
        tokenize(replace(config, **changes), tmp_path / "set")
    assert parts(tmp_path / "set") == before


def test_videos_that_cannot_be_read_are_left_out_and_named(
    config: TokenizeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = tokenize(replace(config, mirrored=True), tmp_path / "whole")
    read = FolderSource.read

    def broken(self: FolderSource, index: int, start: int, count: int, step: int) -> Tensor:
        if index == 0 and start >= 48:
            raise VideoError("cats/0.mp4 breaks off")
        return read(self, index, start, count, step)

    monkeypatch.setattr(FolderSource, "read", broken)
    with caplog.at_level(logging.WARNING, logger="evatok"):
        made = tokenize(replace(config, mirrored=True), tmp_path / "set")
    assert "skipped 1 of 4 videos:\n  animals:cats/0.mp4: cats/0.mp4 breaks off" in caplog.text
    assert made.how["skipped"] == {"animals:cats/0.mp4": "cats/0.mp4 breaks off"}
    # The first video had 4 clips and their copies.
    assert made.ids.tolist() == expected.ids[expected.starts[8] :].tolist()
    assert made.videos.tolist() == (expected.videos[8:] - 1).tolist()
    monkeypatch.setattr(FolderSource, "read", lambda *_: _break())
    with pytest.raises(ValueError, match=r"none of the 4 videos can be read: animals:cats/0\.mp4 \(nothing there\)"):
        tokenize(config, tmp_path / "nothing")


def _break() -> Tensor:
    raise VideoError("nothing there")


def test_too_many_bad_videos_end_the_run(
    config: TokenizeConfig, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(videos, folder)
    make = PartTokenizer.__init__

    def made(self: PartTokenizer, *args: Any) -> None:
        make(self, *args)
        (folder / "cats" / "0.mp4").write_bytes(b"no longer a video")

    monkeypatch.setattr(PartTokenizer, "__init__", made)
    with pytest.raises(TooManyBadVideos, match="1 of the 5 videos"):
        tokenize(replace(config, data=[FolderConfig(str(folder), min_frames=1)]), tmp_path / "set")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["tokens.json"]


def test_a_long_video_is_read_in_pieces(
    config: TokenizeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tokenize(config, tmp_path / "whole")
    read, counts = FolderSource.read, list[int]()

    def counted(self: FolderSource, index: int, start: int, count: int, step: int) -> Tensor:
        counts.append(count)
        return read(self, index, start, count, step)

    monkeypatch.setattr(FolderSource, "read", counted)
    monkeypatch.setattr(token_parts, "_BYTES_AT_ONCE", 2 * 16 * 3 * 48 * 64)
    assert tokenize(config, tmp_path / "set").ids.tolist() == whole.ids.tolist()
    assert sorted(counts) == [16, 16, 32, 32, 32, 32]


def test_sources_count_their_classes_on_and_need_not_agree_on_a_rate(
    config: TokenizeConfig, videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_video(tmp_path / "slow.mp4", torch.zeros(17, 3, 32, 32, dtype=torch.uint8), fps=6)
    named = [FileConfig(str(tmp_path / "slow.mp4")), FolderConfig(str(videos / "dogs"), min_frames=1)]
    with caplog.at_level(logging.INFO, logger="evatok"):
        made = tokenize(replace(config, data=[*named, *config.data], frame_stride=1), tmp_path / "set")
    assert "no frame rate in common" in caplog.text and made.fps == 24
    assert made.classes == ("cats", "dogs") and made.labels.tolist()[:5] == [-1] * 5
    assert made.labels.tolist()[5:] == [0] * 6 + [1] * 4 and made.videos.tolist()[:6] == [0, 1, 2, 2, 2, 3]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no source": ({"data": []}, "data names no source"),
    "two wishes": ({"uniform": 4, "w_q": 1.0}, "at most one of assignment.* got uniform and w_q"),
    "no level": ({"uniform": 5}, "5"),
    "a preference too high": ({"w_q": 3.0}, "w_q"),
    "too few tokens a second": ({"tokens_per_second": 1.0}, "tokens_per_second must be at least"),
    "no multiple of the patch": ({"size": (33, 32)}, "got 33x32"),
    "no height": ({"size": (0, 32)}, r"size must be a height and a width of at least 1, got \(0, 32\)"),
    "stride": ({"frame_stride": 0}, "frame_stride must be at least 1, got 0"),
    "a stride too large": ({"frame_stride": 9}, "no video of animals has the 16 frames of a clip, 9 apart"),
    "rate": ({"fps": 0.0}, "fps"),
    "no tokenizer": ({"tokenizer": "no-such"}, "no-such is no folder and no shipped tokenizer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_said_before_the_work(config: TokenizeConfig, tmp_path: Path, name: str) -> None:
    changes, said = REFUSED[name]
    with pytest.raises(ValueError, match=said) as error:
        tokenize(replace(config, **changes), tmp_path / "set")
    assert "\n" not in str(error.value) and not (tmp_path / "set").exists()


def test_sources_and_classes_have_names_of_their_own(config: TokenizeConfig, videos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sources must differ in name: animals, animals"):
        tokenize(replace(config, data=config.data * 2), tmp_path / "set")
    again = FolderConfig(str(videos), min_frames=1, name="again")
    with pytest.raises(ValueError, match="classes differ in name; cats, dogs came more than once"):
        tokenize(replace(config, data=[*config.data, again]), tmp_path / "set")


def test_the_command(videos: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tokenize", "--tokenizer", model, "--uniform", "4", "-o", str(tmp_path / "set")]
    data = ["--data", f"[{{folder: {videos}, min_frames: 1}}]"]
    assert main([*words, *data]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'set'}: 10 clips of 2 classes, 16.0 tokens a clip\n"
    assert main([*words, *data, "--mirrored", "true"]) == 1
    assert "differs in: clips, mirrored" in capsys.readouterr().err
