"""How large the pictures of a video may be: what is larger is refused before it takes memory."""

import os
import struct
from pathlib import Path

import pytest

from evatok.data.prepare.scanning import decode_whole
from evatok.video.limits import MOST_PIXELS, most_pixels, threads_for, too_large
from evatok.video.reading import VideoBytes, VideoError, probe, read_clip, read_video
from tests.video.videos import REAL_TIME, encode, moving_bar

READERS = (probe, read_video, decode_whole, lambda path: read_clip(path, 0, 1))


def test_what_cameras_make_is_read_and_8k_must_be_asked_for() -> None:
    for width, height in ((3840, 2160), (4096, 2160), (4096, 2304), (5312, 2988), (5760, 2880), (4032, 3024)):
        assert width * height <= MOST_PIXELS
    assert MOST_PIXELS < 7680 * 4320


def test_the_environment_says_how_large_pictures_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.mp4", moving_bar(3))
    monkeypatch.setenv("EVATOK_MAX_PIXELS", str(64 * 48 - 1))
    for read in READERS:
        with pytest.raises(VideoError) as told:
            read(path)
        assert str(told.value) == (
            f"cannot read video '{path}': its pictures of 64x48 pixels are too large: at most 3071 pixels are read; "
            "for a file that you trust, EVATOK_MAX_PIXELS=4096 in the environment raises that"
        )
    for enough in (64 * 48, 4096):
        monkeypatch.setenv("EVATOK_MAX_PIXELS", str(enough))
        assert read_video(path).frames.shape == (3, 3, 48, 64)


@pytest.mark.parametrize("given", ["0", "-1", "", "8K", "1e9", "9" * 5000])
def test_a_limit_is_a_whole_number(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVATOK_MAX_PIXELS", given)
    with pytest.raises(ValueError, match=r"^EVATOK_MAX_PIXELS: got '.*; it is a whole number of at least 1$") as told:
        most_pixels()
    assert len(str(told.value)) < 200


def test_what_is_told_to_raise_the_limit_is_enough() -> None:
    for width, height in ((7680, 4320), (8192, 8192), (1, 2**24 + 1)):
        told = too_large(width, height, MOST_PIXELS).partition("EVATOK_MAX_PIXELS=")[2]
        assert width * height <= int(told.split()[0]) < 2 * width * height


def test_large_pictures_are_in_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread holds a picture."""
    sizes = (64 * 64, 1280 * 720, 3840 * 2160, MOST_PIXELS, 7680 * 4320, 8192 * 8192)
    for processors, threads in ((64, [1, 16, 4, 2, 1, 1]), (2, [1, 0, 0, 2, 1, 1])):
        monkeypatch.setattr(os, "cpu_count", lambda number=processors: number)
        assert [threads_for(pixels) for pixels in sizes] == threads


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("h264", "libx264", {"bf": "0"}),
        ("mpg", "mpeg2video", {}),
        ("ivf", "libvpx-vp9", REAL_TIME),
        ("obu", "libsvtav1", {"preset": "12"}),
        ("mjpeg", "mjpeg", {}),
    ],
)
def test_pictures_that_grow_above_the_limit_are_refused(
    suffix: str, codec: str, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two streams put together, of which the second has larger pictures, and that one alone."""
    small, large = (
        encode(tmp_path / f"{side}.{suffix}", moving_bar(4, side, side), codec=codec, options=options).read_bytes()
        for side in (64, 256)
    )
    monkeypatch.setenv("EVATOK_MAX_PIXELS", str(128 * 128))
    grown = tmp_path / f"grown.{suffix}"
    # Of VP9's container, whose header says how many frames there are, the second one's is no frame.
    grown.write_bytes(small + large[32 if suffix == "ivf" else 0 :])
    for path in (grown, tmp_path / f"256.{suffix}"):
        for read in (read_video, decode_whole):
            with pytest.raises(VideoError, match=r"at most 16384 pixels are.*, EVATOK_MAX_PIXELS"):
                read(path)
    assert len(read_video(tmp_path / f"64.{suffix}").frames) == 4


def test_pictures_larger_than_their_container_says_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(tmp_path / "large.mp4", moving_bar(4, 208, 272))
    data = (tmp_path / "large.mp4").read_bytes()
    for form, unit in ((">HH", 1), (">II", 2**16)):
        data = data.replace(struct.pack(form, 272 * unit, 208 * unit), struct.pack(form, 64 * unit, 48 * unit))
    (tmp_path / "small.mp4").write_bytes(data)
    assert read_video(tmp_path / "small.mp4").frames.shape == (4, 3, 208, 272)
    monkeypatch.setenv("EVATOK_MAX_PIXELS", str(128 * 128))
    for source in (tmp_path / "small.mp4", VideoBytes("small.mp4", data)):
        with pytest.raises(VideoError, match=r"at most 16384 pixels are.*, EVATOK_MAX_PIXELS"):
            read_clip(source, 0, 1)
