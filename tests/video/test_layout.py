"""Files of which parts are missing, or which are written as they come, are read as what they are."""

from pathlib import Path

import pytest
import torch

from evatok.data.folders import FileConfig, FileSource
from evatok.data.prepare.scanning import decode_whole
from evatok.video.reading import VideoError, VideoReader, read_clip, read_video
from tests.video.videos import REAL_TIME, encode, moving_bar

FRAGMENTS = [
    {"movflags": "frag_keyframe"},
    {"movflags": "frag_keyframe+empty_moov"},
    {"movflags": "frag_every_frame+empty_moov+default_base_moof"},
]


@pytest.mark.parametrize("muxing", FRAGMENTS)
def test_fragments_have_the_frames_of_all(tmp_path: Path, muxing: dict[str, str]) -> None:
    path = encode(tmp_path / "a.mp4", moving_bar(60), options={"g": "6"}, muxing=muxing)
    whole = read_video(path)
    assert len(whole.frames) == 60
    assert whole.fps == 25
    assert FileSource(FileConfig(str(path))).describe(0).frames == 60
    assert torch.equal(read_clip(path, 40, 4), whole.frames[40:44])
    assert torch.equal(read_video(path, start=1.6).frames, whole.frames[40:])


@pytest.mark.parametrize(
    ("name", "muxing"),
    [("a.mp4", {"movflags": "faststart"}), ("a.mp4", FRAGMENTS[-1]), ("a.mkv", {}), ("a.webm", {})],
)
def test_a_file_that_is_cut_short_says_so(tmp_path: Path, name: str, muxing: dict[str, str]) -> None:
    codec = "libvpx" if name == "a.webm" else "libx264"
    options = {"g": "6"} | (REAL_TIME if codec == "libvpx" else {})
    path = encode(tmp_path / name, moving_bar(60), codec=codec, options=options, muxing=muxing)
    data = path.read_bytes()
    path.write_bytes(data[: int(0.7 * len(data))])
    frames = 0
    with VideoReader(path) as reader, pytest.raises(VideoError, match="it breaks off"):
        for _ in reader:
            frames += 1
    assert 5 < frames < 60
    for use in (decode_whole, lambda path: FileSource(FileConfig(str(path)))):
        with pytest.raises(VideoError, match="it breaks off"):
            use(path)


def test_samples_without_bytes_hold_no_frame(tmp_path: Path) -> None:
    for codec in ("libx264", "mpeg4", "mjpeg"):
        options = {} if codec == "mjpeg" else {"g": "10", "bf": "0"}
        path = encode(tmp_path / "a.mp4", moving_bar(40), codec=codec, options=options)
        path.write_bytes(emptied(path.read_bytes(), (13, 14, 27)))
        whole = read_video(path).frames
        assert len(whole) == FileSource(FileConfig(str(path))).describe(0).frames == decode_whole(path).frames == 37
        assert torch.equal(read_clip(path, 20, 4), whole[20:24])


def emptied(movie: bytes, numbers: tuple[int, ...]) -> bytes:
    """An MP4 of one chunk in which some samples have no bytes."""
    data = bytearray(movie)
    table = data.index(b"stsz") + 16
    count = int.from_bytes(data[table - 4 : table], "big")
    sizes = [int.from_bytes(data[table + 4 * n : table + 4 * n + 4], "big") for n in range(count)]
    place = data.index(b"mdat") + 4
    kept = bytearray()
    for number, size in enumerate(sizes):
        kept += b"" if number in numbers else data[place : place + size]
        place += size
        if number in numbers:
            data[table + 4 * number : table + 4 * number + 4] = bytes(4)
    start = place - sum(sizes)
    data[start:place] = kept + bytes(sum(sizes) - len(kept))
    return bytes(data)


def test_a_file_that_goes_while_it_is_read(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", moving_bar(30))
    with VideoReader(path) as reader:
        next(reader)
        path.unlink()
        assert len(list(reader)) == 29
