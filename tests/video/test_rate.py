"""Rates are true of the frames, whatever a header says, and any that can be read can be written."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from evatok.tokenizer.model import VideoTokenizer
from evatok.video.rate import as_fraction, checked_fps
from evatok.video.reading import probe, read_video, write_video
from tests.video.videos import REAL_TIME, encode, moving_bar

STEPS = [16, 17, 33, 34, 50, 51, 66]  # milliseconds


def irregular(path: Path, says: int | None) -> tuple[Path, float]:
    """A WebM of irregular frames whose header says a rate, or none, and the average rate."""
    stamps = np.cumsum([0, *np.random.RandomState(0).choice(STEPS, 59)]).tolist()
    options = REAL_TIME | {"auto-alt-ref": "0"}
    unit = Fraction(1, 1000)
    encode(path, moving_bar(60), codec="libvpx", rate=says or 1000, stamps=stamps, unit=unit, options=options)
    if says is None:
        data = bytearray(path.read_bytes())
        at = data.find(b"\x23\xe3\x83")  # the element of a frame's duration becomes void
        size = 4 + (data[at + 3] & 0x7F)
        data[at : at + size] = bytes([0xEC, 0x80 | size - 2]) + bytes(size - 2)
        path.write_bytes(data)
    return path, 59 / (stamps[-1] / 1000)


@pytest.mark.parametrize("says", [1000, 25, None])
def test_an_irregular_rate_is_the_average_of_the_frames(tmp_path: Path, says: int | None) -> None:
    path, true = irregular(tmp_path / "a.webm", says)
    assert read_video(path).fps == pytest.approx(true, rel=0.001)
    assert probe(path).fps == pytest.approx(true, rel=0.15)  # by its first frames
    tokenizer = VideoTokenizer.from_pretrained("evatok-tiny-proxy")
    record = tokenizer.encode(path, uniform=8).videos[0]
    assert record.fps == pytest.approx(true, rel=0.001)
    assert record.times is not None


@pytest.mark.parametrize(
    "name", ["a.h264", "a.hevc", "a.m2v", "a.mpg", "a.flv", "a.asf", "a.ts", "a.mkv", "a.avi", "a.mp4"]
)
@pytest.mark.parametrize("rate", [30, Fraction(24000, 1001)])
def test_the_rate_of_a_constant_rate(tmp_path: Path, name: str, rate: int | Fraction) -> None:
    codec = {"a.hevc": "libx265", "a.m2v": "mpeg2video", "a.mpg": "mpeg2video", "a.flv": "flv1", "a.asf": "mpeg4"}
    options = {"x265-params": "log-level=none:pools=none"} if name == "a.hevc" else {}
    path = encode(tmp_path / name, moving_bar(40), codec=codec.get(name, "libx264"), rate=rate, options=options)
    video = read_video(path)
    assert video.fps == pytest.approx(float(rate), rel=0.001)
    assert video.constant_rate
    assert probe(path).fps == pytest.approx(float(rate), rel=0.001)


@pytest.mark.parametrize(
    "fps", [0.0001, Fraction(1, 300), 0.5, np.float32(12.5), np.int64(25), 30000 / 1001, 960, 2000, 1e6]
)
def test_any_rate_survives(tmp_path: Path, fps: float) -> None:
    write_video(tmp_path / "a.mp4", moving_bar(4), fps=fps)
    back = read_video(tmp_path / "a.mp4")
    assert back.fps == pytest.approx(float(fps))
    assert probe(tmp_path / "a.mp4").fps == back.fps


@pytest.mark.parametrize("fps", [0, -1, 5e-5, 2e6, float("nan"), float("inf")])
def test_what_is_no_rate_is_refused_before_any_work(tmp_path: Path, fps: float) -> None:
    for use in (
        lambda: checked_fps(fps),
        lambda: write_video(tmp_path / "a.mp4", moving_bar(2), fps=fps),
        lambda: read_video(tmp_path / "missing.mp4", fps=fps),
        lambda: VideoTokenizer.from_pretrained("evatok-tiny-proxy").encode(moving_bar(2)[None], uniform=8, fps=fps),
    ):
        with pytest.raises(ValueError, match=r"fps: got .*; it may be 0\.0001 to 1,000,000"):
            use()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", ["30", True, None, [30]])
def test_what_is_no_number_is_no_rate(fps: float) -> None:
    with pytest.raises(TypeError, match="fps: got "):
        checked_fps(fps)


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_a_container_that_cannot_keep_a_rate_says_so(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match=f"fps: got 2000; '{suffix}' keeps times to 1/1000 s"):
        write_video(tmp_path / f"a{suffix}", moving_bar(2), fps=2000)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_times_nearer_than_ticks_are_a_tick_apart(tmp_path: Path, suffix: str) -> None:
    times = [0, 1e-6, 2e-6, 0.0001, 0.5, 1.0]
    write_video(tmp_path / f"a{suffix}", moving_bar(6), fps=30, times=times)
    back = read_video(tmp_path / f"a{suffix}").times
    assert (back.diff() > 0).all()
    assert back.tolist() == pytest.approx(times, abs=0.0031)


def test_television_rates_are_exact() -> None:
    assert [as_fraction(rate) for rate in (30000 / 1001, 23.976023976, 25.0, 1 / 300)] == [
        Fraction(30000, 1001),
        Fraction(24000, 1001),
        Fraction(25),
        Fraction(1, 300),
    ]
