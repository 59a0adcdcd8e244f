"""One open video file: its stream, frames as they are decoded, seeking, and what the container says."""

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePath
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
import torch
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from evatok.video.scaling import Scaler, to_picture

StrPath = str | os.PathLike[str]

# Starting threads takes longer than coding frames of at most so many pixels.
SMALL_PICTURE = 256 * 256
# FFmpeg would render these as pictures of text.
_TEXT_CODECS = frozenset({"ansi", "bintext", "xbin", "idf"})


class VideoError(ValueError):
    """A video could not be read or written; the message is one sentence with the path and the reason.

    `reason` is the message without the path, where that is known.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = message if reason is None else reason


@dataclass(frozen=True)
class VideoBytes:
    """A video file that is in memory: its content, and a name for messages, whose suffix helps to tell the format."""

    name: str
    data: bytes


VideoSource = StrPath | VideoBytes


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its video.

    `frames` is the container's claim (None if it makes none); `fps` the average rate, above 0; `size` is
    (height, width) as shown, that is after rotation; `seconds` the duration (None if unknown).
    """

    path: str
    frames: int | None
    fps: float
    size: tuple[int, int]
    seconds: float | None
    codec: str


@dataclass(frozen=True)
class ConstantClock:
    """A constant rate, in a stream's own ticks: frame n has the stamp first + n * tick."""

    first: int
    tick: int
    frames: int

    def numbered(self, frames: Iterable[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        """Frames with their numbers; ends at the first whose stamp is not the next in line."""
        expected: int | None = None
        for frame in frames:
            if frame.pts is None:
                return
            number, rest = divmod(frame.pts - self.first, self.tick)
            if rest or (expected is not None and number != expected):
                return
            yield number, frame
            expected = number + 1


class VideoFile:
    """One open video file: its best video stream, whose errors come out as VideoError.

    `threads` decode it; None: as many as its pictures are worth.
    """

    def __init__(self, source: VideoSource, threads: int | None = None) -> None:
        self._data = source.data if isinstance(source, VideoBytes) else None
        self.path = source.name if isinstance(source, VideoBytes) else os.fspath(source)
        self._threads = threads
        self._shape: torch.Size | None = None
        self._scaler = Scaler()
        self._used_threads = 0
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def error(self, reason: str) -> VideoError:
        return VideoError(f"cannot read video '{self.path}': {reason}", reason)

    def _open(self) -> None:
        if self._data is None and not os.path.exists(self.path):
            raise self.error("there is no such file")
        if self._data is None and not os.path.isfile(self.path):
            raise self.error("it is not a file")
        if self._size() == 0:
            raise self.error("the file is empty")
        # With the protocol spelled out, a colon or '%d' in a name is no protocol or pattern, and no playlist can
        # make FFmpeg reach for the network; from memory, none can make it reach for files either.
        file: str | io.BytesIO = f"file:{self.path}"
        allowed = "file"
        if self._data is not None:
            file, allowed = _NamedBytes(self._data, self.path), "none"
        try:
            self._container = av.open(file, "r", options={"protocol_whitelist": allowed}, metadata_errors="replace")
        except (FFmpegError, OSError) as error:
            raise self.error(reason_of(error)) from error
        try:
            self._stream = self._pick_stream()
        except BaseException:
            self.close()
            raise

    def _pick_stream(self) -> VideoStream:
        found = self._container.streams.best("video")
        if not isinstance(found, VideoStream) or found.disposition & Disposition.attached_pic:
            raise self.error("it has no video stream")
        if found.codec_context is None:
            raise self.error("there is no decoder for its video")
        if found.codec_context.name in _TEXT_CODECS:
            raise self.error("it is a text, not a video")
        found.thread_type = "AUTO"
        # Starting threads takes longer than decoding small frames.
        worth = 1 if found.width * found.height <= SMALL_PICTURE else 0
        self._used_threads = found.thread_count = worth if self._threads is None else self._threads
        return found

    def _size(self) -> int:
        """Bytes of the file."""
        return os.path.getsize(self.path) if self._data is None else len(self._data)

    def reopen(self) -> None:
        """Go back to the beginning, which seeking does not reach in every format."""
        self.close()
        self._open()

    def close(self) -> None:
        self._container.close()

    @property
    def coded_size(self) -> tuple[int, int]:
        """(height, width) that the file promises, before rotation; 0 where it does not say."""
        return self._stream.height, self._stream.width

    @property
    def broadcast(self) -> bool:
        """Whether this is a broadcast stream, which may have losses; decoders hide them."""
        return str(self._container.format.name) == "mpegts"

    def frames(self) -> Iterator[VideoFrame]:
        """Decode from where the file stands to its end."""
        try:
            for packet in self._container.demux(self._stream):
                # Elsewhere than in a broadcast this is a file's cut-off end.
                if packet.is_corrupt and not self.broadcast:
                    yield from self._stream.codec_context.decode(None)
                    raise self.error("it breaks off in the middle of a frame")
                yield from packet.decode()
        except (FFmpegError, OSError) as error:
            raise self.error(f"it breaks off: {reason_of(error)}") from error
        entries = self._stream.index_entries
        if len(entries) and entries[-1].pos + entries[-1].size > self._size():
            raise self.error("it breaks off before its last frame")

    def count_packets(self) -> int:
        """Packets from where the file stands to its end, each of which holds a frame."""
        try:
            return sum(1 for packet in self._container.demux(self._stream) if packet.size)
        except (FFmpegError, OSError) as error:
            raise self.error(f"it breaks off: {reason_of(error)}") from error

    def seek(self, stamp: int) -> Iterator[VideoFrame] | None:
        """Frames from a key frame at or before `stamp` on, or None where seeking does not lead to one."""
        try:
            self._container.seek(stamp, stream=self._stream)
        except (FFmpegError, OSError):
            return None
        frames = self.frames()
        try:
            # What is shown before the key frame that decoding began with may lack its references.
            key = next((frame for frame in frames if frame.key_frame), None)
        except VideoError:
            return None
        if key is None or key.pts is None or key.pts > stamp:
            return None
        return chain([key], frames)

    def picture(self, frame: VideoFrame, size: tuple[int, int] | None) -> Tensor:
        """Convert a decoded frame to RGB as shown, (3, H, W) uint8, resized if a size is given."""
        across, upside_down, mirrored = orientation(frame)
        stored = (size[1], size[0]) if size is not None and across else size
        picture = to_picture(self._scaler.frame(frame, stored, "rgb24", threads=self._used_threads))
        picture = picture.mT if across else picture
        axes = [axis for axis, flipped in ((1, upside_down), (2, mirrored)) if flipped]
        picture = (picture.flip(axes) if axes else picture).contiguous()
        if self._shape is not None and self._shape != picture.shape:
            raise self.error(f"its pictures change from {_by(self._shape)} to {_by(picture.shape)} pixels")
        self._shape = picture.shape
        return picture

    def clock(self) -> ConstantClock | None:
        """The constant rate, where the container's index lists all frames at one distance; else None."""
        entries, first = self._stream.index_entries, self._stream.start_time
        if first is None or len(entries) < 2 or len(entries) != self._stream.frames:
            return None
        listed = list(entries)
        stamps = np.array([entry.timestamp for entry in listed])
        steps = np.diff(stamps)
        if steps[0] <= 0 or (steps != steps[0]).any() or any(entry.is_discard for entry in listed):
            return None
        return ConstantClock(first, int(steps[0]), len(listed))

    def info(self, first: VideoFrame) -> VideoInfo:
        """Describe the video; `first` is any frame of it."""
        stream, seconds = self._stream, None
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif self._container.duration is not None:
            seconds = self._container.duration / av.time_base
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or 25
        across = orientation(first)[0]
        size = (first.width, first.height) if across else (first.height, first.width)
        codec = stream.codec_context.name
        return VideoInfo(self.path, stream.frames or None, float(rate), size, seconds, codec)


class _NamedBytes(io.BytesIO):
    """Bytes as a file of which FFmpeg learns no more of the name than the suffix, by which it knows some formats."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = f"video{PurePath(name).suffix}"


def reason_of(error: Exception) -> str:
    """Return what an error of FFmpeg or of the system says, without its number."""
    return str(getattr(error, "strerror", None) or error).lower()


def checked_fps(fps: float) -> float:
    """Return a frame rate; ValueError if it is none."""
    if not 0.01 <= fps <= 1000:
        raise ValueError(f"fps: got {fps}; it may be 0.01 to 1000")
    return float(fps)


def _by(shape: torch.Size) -> str:
    return f"{shape[-1]}x{shape[-2]}"


def orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Whether showing a frame swaps its axes, and then mirrors it top to bottom and left to right.

    The display matrix sends pixel (x, y) to (a x + c y, b x + d y), up to a shift (libavutil's display.h).
    """
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV does not list side data of a kind unknown to it, such as EXIF, but still tells the rotation.
        turns = round(frame.rotation / 90) % 4
        return turns % 2 == 1, turns in (1, 2), turns in (2, 3)
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, b < 0, c < 0
    return False, d < 0, a < 0
