"""A video has as many frames as decode, whatever its container claims."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from evatok.data.clips import ClipSamplerConfig, TrainingClips, held_out_clips
from evatok.data.folders import FileConfig, FileSource, FolderConfig, FolderSource
from evatok.data.prepare.scanning import decode_whole
from evatok.video.file import VideoFile
from evatok.video.reading import read_clip, read_video
from tests.video.videos import REAL_TIME, copy_packets, encode, hide_frame, moving_bar, trimmed

OPEN = "log-level=none:pools=none:keyint=20:min-keyint=20:open-gop=1:bframes=3:b-adapt=0:scenecut=0"


def of_h264(folder: Path, suffix: str = ".mp4") -> Path:
    return encode(folder / f"source{suffix}", moving_bar(60), options={"g": "20", "bf": "2", "sc_threshold": "0"})


def without_first_key_frame(folder: Path, suffix: str) -> Path:
    return copy_packets(of_h264(folder), folder / f"a{suffix}", lambda number, packet: number >= 7)


def in_the_middle(folder: Path) -> Path:
    """A broadcast that begins between key frames."""
    path = encode(folder / "a.ts", moving_bar(60), options={"g": "25", "bf": "2", "sc_threshold": "0"})
    data = path.read_bytes()
    path.write_bytes(data[: 188 * 3] + data[int(len(data) * 0.3) // 188 * 188 :])
    return path


def hidden(folder: Path) -> Path:
    options = REAL_TIME | {"auto-alt-ref": "0", "g": "100"}
    source = encode(folder / "source.webm", moving_bar(40), codec="libvpx", options=options)
    return copy_packets(source, folder / "a.webm", lambda number, packet: True, change=hide_frame)


def dropped(folder: Path) -> Path:
    stamps = [number for number in range(60) if number % 5 != 3]
    return encode(folder / "a.avi", moving_bar(48), codec="mjpeg", stamps=stamps)


def negative(folder: Path) -> Path:
    stamps = [number - 7 for number in range(50)]
    return encode(folder / "a.mp4", moving_bar(50), stamps=stamps, muxing={"avoid_negative_ts": "disabled"})


def leading(folder: Path, codec: str) -> Path:
    """Begins at a key frame after which come frames that are shown before it, and lack their references."""
    parameters = OPEN if codec == "libx265" else OPEN.partition("pools=none:")[2]
    options = {"x265-params" if codec == "libx265" else "x264-params": parameters}
    source = encode(folder / "source.mp4", moving_bar(60), codec=codec, options=options)
    keys = [0]

    def keep(number: int, packet: object) -> bool:
        keys[0] += packet.is_keyframe  # type: ignore[attr-defined]
        return keys[0] >= 2

    return copy_packets(source, folder / "a.mp4", keep)


CLAIMS: dict[str, tuple[Callable[[Path], Path], int]] = {
    "trimmed copy": (lambda folder: trimmed(of_h264(folder), folder / "a.mp4", 33), 27),
    "no key frame first, Matroska": (lambda folder: without_first_key_frame(folder, ".mkv"), 40),
    "no key frame first, MP4": (lambda folder: without_first_key_frame(folder, ".mp4"), 40),
    "no key frame first, MOV": (lambda folder: without_first_key_frame(folder, ".mov"), 40),
    "broadcast from the middle": (in_the_middle, 35),
    "hidden frames": (hidden, 35),
    "dropped frames": (dropped, 48),
    "stamps below 0": (negative, 43),
    "leading pictures, HEVC": (lambda folder: leading(folder, "libx265"), 40),
    "leading pictures, H.264": (lambda folder: leading(folder, "libx264"), 40),
    "plain": (of_h264, 60),
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_frames_are_those_that_decode(tmp_path: Path, kind: str) -> None:
    make, frames = CLAIMS[kind]
    path = make(tmp_path)
    whole = read_video(path).frames
    assert len(whole) == frames
    assert FileSource(FileConfig(str(path))).describe(0).frames == frames
    assert decode_whole(path).frames == frames
    for start in random.Random(0).sample(range(frames - 3), 6):
        assert torch.equal(read_clip(path, start, 4), whole[start : start + 4])


def test_trimmed_copies_are_trained_on(tmp_path: Path) -> None:
    cut = trimmed(of_h264(tmp_path), tmp_path / "cut.mp4", 33).read_bytes()
    (tmp_path / "videos").mkdir()
    for number in range(6):
        (tmp_path / "videos" / f"{number}.mp4").write_bytes(cut)
    source = FolderSource(FolderConfig(str(tmp_path / "videos")))
    assert source.lengths().tolist() == [27] * 6
    clips = TrainingClips([source], [1.0], ClipSamplerConfig(), 4, 0)
    assert [len(clips[number]) for number in range(8)] == [4] * 8
    assert len(held_out_clips([source], 12, (48, 64), 16)["videos"]) == 12
    assert source.bad.failed == {}


def test_a_good_index_spares_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = of_h264(tmp_path)
    monkeypatch.setattr(VideoFile, "frames", lambda self: pytest.fail("it was decoded"))
    with VideoFile(path) as file:
        assert file.count() == 60
