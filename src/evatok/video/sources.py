"""What a video can be read from, what is known of one, and how it is said that one cannot be read."""

import io
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePath

StrPath = str | os.PathLike[str]


class VideoError(ValueError):
    """A video could not be read or written; the message is one sentence with the path and the reason.

    `reason` is the message without the path, where that is known.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = message if reason is None else reason


def unreadable(path: object, reason: str) -> VideoError:
    """The error of a video that cannot be read for this reason."""
    return VideoError(f"cannot read video '{path}': {reason}", reason)


@dataclass(frozen=True)
class VideoBytes:
    """A video file that is in memory: its content, and a name for messages, whose suffix helps to tell the format."""

    name: str
    data: bytes


VideoSource = StrPath | VideoBytes


class NamedBytes(io.BytesIO):
    """Bytes as a file of which FFmpeg learns no more of the name than the suffix, by which it knows some formats."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = f"video{PurePath(name).suffix}"


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its video.

    `frames` is the container's claim (None if it makes none); `fps` the average rate, above 0, by the first frames
    where the container's claim is plainly wrong; `size` is (height, width) as shown, that is after rotation and with
    square pixels; `seconds` the duration (None if unknown). Sides are whole numbers, so that pixels of that size may
    still be a little wider than high: `pixel_aspect` says how much, and is 1 for nearly all videos.
    """

    path: str
    frames: int | None
    fps: float
    size: tuple[int, int]
    seconds: float | None
    codec: str
    pixel_aspect: Fraction = Fraction(1)


def reason_of(error: Exception) -> str:
    """Return what an error of FFmpeg or of the system says, without its number."""
    return str(getattr(error, "strerror", None) or error).lower()
