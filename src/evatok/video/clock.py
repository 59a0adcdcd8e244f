"""The constant rate of a container whose index lists every frame, by which frames are numbered without decoding all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


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


def constant_clock(stream: VideoStream) -> ConstantClock | None:
    """The clock, where the index lists all frames at one distance, the first a key frame, none cut or empty."""
    entries, first = stream.index_entries, stream.start_time
    if first is None or len(entries) < 2 or len(entries) != stream.frames:
        return None
    listed = list(entries)
    steps = np.diff(np.array([entry.timestamp for entry in listed]))
    if steps[0] <= 0 or (steps != steps[0]).any() or any(entry.is_discard or not entry.size for entry in listed):
        return None
    return ConstantClock(first, int(steps[0]), len(listed)) if listed[0].is_keyframe else None
