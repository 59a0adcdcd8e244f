"""How a decoded frame is shown: turned, mirrored, and with pixels that need not be square."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_SQUARE = Fraction(1)
# Wider or higher pixels than any camera's or disc's are those of a damaged header.
_ODDEST = 16


class Orientation(NamedTuple):
    """How a frame is turned when it is shown.

    Args:
        across: whether its axes are swapped, before it is mirrored.
        upside_down: whether it is then mirrored top to bottom.
        mirrored: whether it is then mirrored left to right.
    """

    across: bool
    upside_down: bool
    mirrored: bool


UPRIGHT = Orientation(False, False, False)


@dataclass(frozen=True)
class Shown:
    """How a frame is shown, whose pixels are `height` times `width` in the file.

    Args:
        across, upside_down, mirrored: as `Orientation` says.
        stored: (height, width) at which its pixels are nearly square, before any turn.
        pixel_aspect: width to height of its pixels then, after the turn: 1, or nearly, as sides are whole numbers.
    """

    across: bool
    upside_down: bool
    mirrored: bool
    stored: tuple[int, int]
    pixel_aspect: Fraction

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as shown."""
        height, width = self.stored
        return (width, height) if self.across else (height, width)


def shown(frame: VideoFrame, turn: Orientation, pixel_aspect: Fraction) -> Shown:
    """How a frame is shown that is turned so, and whose pixels are so wide to their height."""
    width = max(1, round(frame.width * pixel_aspect))
    rest = frame.width * pixel_aspect / width
    return Shown(*turn, (frame.height, width), 1 / rest if turn.across else rest)


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Width to height of a stream's pixels; 1 where it does not say, or nothing that could be."""
    aspect = stream.sample_aspect_ratio or _SQUARE
    return aspect if 1 <= max(aspect, 1 / aspect) <= _ODDEST else _SQUARE


def orientation(frame: VideoFrame) -> Orientation | None:
    """How showing a frame turns it; None where it does not say.

    The display matrix sends pixel (x, y) to (a x + c y, b x + d y), up to a shift (libavutil's display.h).
    """
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV does not list side data of a kind unknown to it, such as EXIF, but still tells the rotation.
        turns = round(frame.rotation / 90) % 4
        return Orientation(turns % 2 == 1, turns in (1, 2), turns in (2, 3))
    if matrix is None:
        return None
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, b < 0, c < 0)
    return Orientation(False, d < 0, a < 0)
