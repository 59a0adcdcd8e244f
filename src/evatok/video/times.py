"""When frames are shown: a file's stamps, mended until they can be times, and slots of a constant rate."""

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction

from av.video.frame import VideoFrame

from evatok.video.rate import LONGEST_STEP

log = logging.getLogger(__name__)

# A picture as decoded, and when it is shown, in seconds.
Timed = tuple[VideoFrame, float]

# Matroska rounds time stamps to a millisecond, so two of them may be that much nearer or further apart.
ROUNDING = 1.0e-3
_MILLISECOND = Fraction(1, 1000)
# Seconds computed in floating point are equal if they differ by no more.
_TIE = 1.0e-6
# Stamps that go back by so much are another recording's.
_BACK = 1.0
_TOLD = 3  # jumps of a video that are named


def with_times(
    frames: Iterable[VideoFrame], period: float, *, name: str, joined: bool = False, origin: float | None = None
) -> Iterator[Timed]:
    """Frames in the decoder's order with seconds since `origin`, strictly increasing.

    A frame without a stamp, or with one that is not after its predecessor's, follows that by one period. Where stamps
    jump, because recordings were put together, the jump becomes one period too, and is named in the log.

    Args:
        frames: as they are decoded.
        period: seconds that a frame lasts.
        name: of the file, for the log.
        joined: whether the container is one whose recordings are put together end to end, so that a step of more than
            ten seconds is a jump.
        origin: the first frame's stamp in seconds; None takes it from the first of these.
    """
    last: float | None = None
    shift, jumps = 0.0, 0
    for frame in frames:
        stamp = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
        origin = (0.0 if stamp is None else stamp) if origin is None else origin
        if last is None:
            time = 0.0 if stamp is None else stamp - origin
        elif stamp is None:
            time = last + period
        else:
            time = stamp - origin + shift
            step = time - last
            if step < -_BACK or (joined and step > LONGEST_STEP):
                jumps += 1
                if jumps <= _TOLD:
                    log.warning("%s: its time stamps jump by %.2f s at %.2f s, taken as one frame", name, step, last)
                shift, time = shift + last + period - time, last + period
            elif step <= 0:
                time = last + period
        last = time
        yield frame, time
    if jumps > _TOLD:
        log.warning("%s: its time stamps jump %d times in all", name, jumps)


def rounding(period: float) -> float:
    """Seconds by which a frame's time may be wrong: Matroska's millisecond, or half a frame where that is less."""
    return min(ROUNDING, period / 2)


def in_range(timed: Iterable[Timed], start: float, end: float, rounding: float) -> Iterator[Timed]:
    """What is shown from `start` to before `end`, both give or take a rounding; the first at 0."""
    origin: float | None = None
    for frame, time in timed:
        if time < start - rounding:
            continue
        if time >= end - rounding:
            return
        origin = time if origin is None else origin
        yield frame, time - origin


def resampled(timed: Iterable[Timed], fps: float, period: float) -> Iterator[Timed]:
    """The frame nearest to each slot j / fps; the last frame is shown as long as it says, or for one `period`."""
    slot = 0
    before: Timed | None = None
    for now in timed:
        while before is not None and slot / fps <= (before[1] + now[1]) / 2 + _tie(now[0], fps):
            yield before[0], slot / fps
            slot += 1
        before = now
    if before is None:
        return
    # A slot that begins with the video's end, give or take a rounding, shows nothing.
    end = before[1] + (_duration(before[0]) or period) - _tie(before[0], fps)
    while slot == 0 or slot / fps < end:
        yield before[0], slot / fps
        slot += 1


def _tie(frame: VideoFrame, fps: float) -> float:
    """Seconds by which two times that are meant to be equal may differ: by how finely the container keeps them."""
    return min(ROUNDING, 0.25 / fps) if frame.time_base == _MILLISECOND else _TIE


def _duration(frame: VideoFrame) -> float:
    """Seconds that a frame says it is shown; 0 where it does not."""
    return float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0
