"""Stamps of files become times that increase, and jumps of recordings put together become one step."""

import logging
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import av
import pytest
import torch

from evatok.video.reading import read_clip, read_video, write_video
from evatok.video.times import with_times
from tests.video.videos import REAL_TIME, copy_packets, encode, moving_bar


def times(stamps: list[int | None], joined: bool = False) -> list[float]:
    """Seconds of frames with stamps in tenths of a second."""
    frames = [SimpleNamespace(pts=stamp, time_base=Fraction(1, 10)) for stamp in stamps]
    timed = with_times(cast(list[av.VideoFrame], frames), 0.25, name="a", joined=joined)
    return [time for _, time in timed]


def test_missing_and_repeated_stamps_follow_the_rate() -> None:
    assert times([-3, None, 5, 5, 4, 30]) == pytest.approx([0, 0.25, 0.8, 1.05, 1.3, 3.3])


@pytest.mark.parametrize(
    ("stamps", "joined", "expected"),
    [
        ([0, 2, 4, 1004, 1006], True, [0, 0.2, 0.4, 0.65, 0.85]),
        ([0, 2, 4, 1004, 1006], False, [0, 0.2, 0.4, 100.4, 100.6]),  # a picture that is held
        ([0, 2, 4, 90, 92], True, [0, 0.2, 0.4, 9.0, 9.2]),
        ([500, 502, 504, 0, 3], False, [0, 0.2, 0.4, 0.65, 0.95]),
        ([500, 502, 504, 0, 3], True, [0, 0.2, 0.4, 0.65, 0.95]),
        ([0, 2, 1, 4], False, [0, 0.2, 0.45, 0.7]),
        ([None, None, None], True, [0, 0.25, 0.5]),
    ],
)
def test_jumps_are_one_step(stamps: list[int | None], joined: bool, expected: list[float]) -> None:
    assert times(stamps, joined) == pytest.approx(expected)


def test_many_jumps_are_named_and_counted_in_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    stamps: list[int | None] = [1000 * number for number in range(40)]
    with caplog.at_level(logging.WARNING):
        times(stamps, joined=True)
    assert len(caplog.messages) == 4
    assert "a: its time stamps jump by 100.00 s at 0.00 s" in caplog.messages[0]
    assert "39 times" in caplog.messages[-1]


@pytest.mark.parametrize("container", ["mpegts", "mpeg"])
@pytest.mark.parametrize("seconds", [100, 3600, -3600])
def test_recordings_put_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, container: str, seconds: int
) -> None:
    codec, suffix = ("libx264", ".ts") if container == "mpegts" else ("mpeg2video", ".mpg")

    def part(first: int) -> bytes:
        path = tmp_path / f"{first}{suffix}"
        stamps = [25 * first + number for number in range(30)]
        muxing = {"avoid_negative_ts": "disabled"} | ({"mpegts_copyts": "1"} if container == "mpegts" else {})
        encode(path, moving_bar(30), codec=codec, stamps=stamps, muxing=muxing)
        return path.read_bytes()

    first, second = (0, seconds) if seconds > 0 else (-seconds, 0)
    both = tmp_path / f"both{suffix}"
    both.write_bytes(part(first) + part(second))
    whole = read_video(both)
    assert len(whole.frames) == 60
    assert whole.fps == pytest.approx(25, rel=0.01)
    assert float(whole.times[-1]) == pytest.approx(59 / 25, abs=0.05)
    assert "its time stamps jump" in caplog.text
    assert len(read_video(both, fps=10).frames) in (23, 24)
    late = read_video(both, start=1.6)
    assert torch.equal(late.frames, whole.frames[whole.times >= 1.599])


@pytest.mark.parametrize("codec", ["mpeg4", "libx264", "mpeg2video", "mjpeg"])
def test_avi_says_only_when_packets_are_decoded(tmp_path: Path, codec: str) -> None:
    options = {} if codec == "mjpeg" else {"g": "12", "bf": "2"}
    path = encode(tmp_path / "a.avi", moving_bar(50), codec=codec, options=options)
    video = read_video(path)
    assert len(video.frames) == 50
    assert video.constant_rate
    assert video.fps == 25
    assert torch.equal(read_video(path, start=1.2).frames, video.frames[30:])
    for start in (0, 11, 12, 13, 44):
        assert torch.equal(read_clip(path, start, 4), video.frames[start : start + 4])
    write_video(tmp_path / "b.mp4", video.frames, fps=video.fps, times=video.times)


def test_dropped_frames_of_avi_leave_their_time(tmp_path: Path) -> None:
    kept = [number for number in range(60) if number % 5 != 3]
    video = read_video(encode(tmp_path / "a.avi", moving_bar(48), codec="mjpeg", stamps=kept))
    assert video.times.tolist() == pytest.approx([number / 25 for number in kept])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".ts", ".mpg", ".flv", ".avi", ".h264", ".mov"])
def test_a_range_is_what_the_whole_has_there(tmp_path: Path, suffix: str) -> None:
    codec = {".webm": "libvpx", ".mpg": "mpeg2video", ".flv": "flv1"}.get(suffix, "libx264")
    options = REAL_TIME if codec == "libvpx" else {"g": "12"} if codec == "flv1" else {"g": "12", "bf": "2"}
    path = encode(tmp_path / f"a{suffix}", moving_bar(60), codec=codec, options=options)
    whole = read_video(path)
    for start, end in ((0.5, 0.9), (1.0, 1.52), (1.96, 9.0)):
        part = read_video(path, start=start, end=end)
        inside = (whole.times >= start - 0.001) & (whole.times < end - 0.001)
        assert torch.equal(part.frames, whole.frames[inside])


def test_a_range_of_a_file_with_repeated_stamps(tmp_path: Path) -> None:
    source = encode(tmp_path / "source.mkv", moving_bar(60), options={"g": "5", "bf": "0"})

    def repeat(number: int, packet: av.Packet) -> av.Packet:
        assert packet.pts is not None
        packet.pts = packet.dts = packet.pts - (40 if number in (7, 8) else 0)
        return packet

    path = copy_packets(source, tmp_path / "a.mkv", lambda number, packet: True, change=repeat)
    whole = read_video(path)
    assert (whole.times.diff() > 0).all()
    assert torch.equal(read_video(path, start=1.5).frames, whole.frames[whole.times >= 1.499])
