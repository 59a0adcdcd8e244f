"""How a decoded frame is shown: turned, mirrored, and with pixels that need not be square."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_SQUARE = Fraction(1)
# Wider or higher pixels than any camera's or disc's are those of a damaged header.
_ODDEST = 16
_EXIF = 31  # FFmpeg's AV_FRAME_DATA_EXIF


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
        turn: how it is turned.
        stored: (height, width) at which its pixels are nearly square, before any turn.
        pixel_aspect: width to height of its pixels then, after the turn: 1, or nearly, as sides are whole numbers.
    """

    turn: Orientation
    stored: tuple[int, int]
    pixel_aspect: Fraction

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as shown."""
        height, width = self.stored
        return (width, height) if self.turn.across else (height, width)


def shown(frame: VideoFrame, turn: Orientation, pixel_aspect: Fraction) -> Shown:
    """How a frame is shown that is turned so, and whose pixels are so wide to their height."""
    width = max(1, round(frame.width * pixel_aspect))
    rest = frame.width * pixel_aspect / width
    return Shown(turn, (frame.height, width), 1 / rest if turn.across else rest)


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
        # PyAV lists no side data where some is of a kind unknown to it.
        matrix = _without_exif(frame).side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return None
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, b < 0, c < 0)
    return Orientation(False, d < 0, a < 0)


def _without_exif(frame: VideoFrame) -> VideoFrame:
    """A photograph without the side data that PyAV does not know."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("sidedata", f"mode=delete:type={_EXIF}"), graph.add("buffersink")).configure()
    graph.push(frame)
    left = graph.pull()
    assert isinstance(left, VideoFrame)
    return left
