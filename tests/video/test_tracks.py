"""Of several video tracks the longest that is no still is read, or the one asked for."""

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from av.stream import Disposition
from av.video.stream import VideoStream
from torch import Tensor

from evatok.tokenizer.model import VideoTokenizer
from evatok.video import tracks
from evatok.video.file import VideoFile
from evatok.video.reading import VideoError, VideoReader, probe, read_video, write_video
from tests.video.videos import frame_of, moving_bar


def write_tracks(path: Path, videos: Sequence[Tensor], stills: Sequence[int] = ()) -> Path:
    """A file of tracks, of which those of these numbers are marked as attached pictures."""
    with av.open(str(path), "w") as container:
        streams = []
        for number, video in enumerate(videos):
            stream = container.add_stream("mjpeg" if number in stills else "libx264", rate=25)
            assert isinstance(stream, VideoStream)
            stream.height, stream.width = video.shape[-2:]
            stream.pix_fmt = "yuvj420p" if number in stills else "yuv420p"
            if number in stills:
                stream.disposition = Disposition.attached_pic
            streams.append(stream)
        for stream, video in zip(streams, videos, strict=True):
            for place, picture in enumerate(video):
                frame = frame_of(picture)
                frame.pts, frame.time_base = place, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


SHORT, LONG, COVER = moving_bar(5, 64, 96), moving_bar(40, 48, 64), moving_bar(1, 96, 96)


@pytest.mark.parametrize(
    ("suffix", "videos", "stills", "frames"),
    [
        *[(suffix, [SHORT, LONG], [], 40) for suffix in (".mp4", ".mkv", ".mov")],
        *[(suffix, [LONG, SHORT], [], 40) for suffix in (".mp4", ".mkv", ".mov")],
        *[(suffix, [COVER, LONG], [], 40) for suffix in (".mp4", ".mkv", ".mov")],
        (".mp4", [COVER, SHORT, LONG], [0], 40),
        (".mov", [SHORT, COVER], [1], 5),
    ],
)
def test_the_longest_that_moves(
    tmp_path: Path, suffix: str, videos: list[Tensor], stills: list[int], frames: int
) -> None:
    path = write_tracks(tmp_path / f"a{suffix}", videos, stills)
    assert len(read_video(path).frames) == frames


def test_the_one_asked_for_and_what_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_tracks(tmp_path / "a.mp4", [SHORT, LONG])
    tracks._say.cache_clear()
    with caplog.at_level(logging.INFO, "evatok"):
        assert probe(path).size == (48, 64)
        probe(path)
    assert caplog.messages == [f"{path}: of its 2 video tracks, number 1 is read (64x48)"]
    assert read_video(path, track=0).frames.shape == (5, 3, 64, 96)
    with VideoReader(path, track=0, start=0.1) as reader:
        assert len(list(reader)) == 2
    for wrong in (2, -1):
        with pytest.raises(VideoError, match=f"it has 2 video tracks, and number {wrong}, counted from 0"):
            read_video(path, track=wrong)
    tokenizer = VideoTokenizer.from_pretrained("evatok-tiny-proxy")
    tokens = tokenizer.encode(path, uniform=8, track=0)
    assert tokens.videos[0].frames == 5
    assert torch.equal(tokens.ids, tokenizer.encode(read_video(path, track=0).frames[None], uniform=8).ids)


def test_a_file_of_a_cover_alone_has_no_video(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mp4", [COVER], [0])
    with pytest.raises(VideoError, match="it has no video stream"):
        probe(path)


class Late:
    """A container of which PyAV asks, once all is read, for a track that it did not know when it was opened."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, *streams: Any) -> Iterator[Any]:
        yield from self._container.demux(*streams)
        raise IndexError("list index out of range")


def test_a_track_that_begins_in_the_middle_ends_nothing(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", torch.zeros(5, 3, 32, 32, dtype=torch.uint8), fps=10)
    with VideoFile(tmp_path / "a.mkv", threads=1) as file:
        file._container = Late(file._container)  # type: ignore[assignment]
        assert len(list(file.frames())) == 5
