"""Frame rates: which there may be, and what is true of a stream whatever its header says."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from numbers import Real

from av.video.stream import VideoStream

# One frame in three hours, and one a microsecond, which is how finely tokens keep times.
LEAST_FPS, MOST_FPS = 1e-4, 1e6
# Stamps by which a rate is measured, and as many more, as the last ones in a file's order are not the last shown.
_MEASURED, _REORDERED = 49, 16
STAMPS = _MEASURED + _REORDERED
# A header's rate that is off by more than this share is not that of the frames.
_OFF = 0.05
_UNKNOWN = 25.0
# Seconds: a longer one, where recordings are put together, is no step of one of them. FFmpeg's tool takes as many.
LONGEST_STEP = 10.0


def checked_fps(fps: float | Fraction) -> float:
    """A frame rate as a float: of a float, an int, a Fraction or a NumPy number.

    Raises:
        TypeError: it is no number.
        ValueError: it is not 0.0001 to 1,000,000.
    """
    if isinstance(fps, bool) or not isinstance(fps, Real):
        raise TypeError(f"fps: got {type(fps).__name__}; it is a number")
    if not LEAST_FPS <= fps <= MOST_FPS:
        raise ValueError(f"fps: got {float(fps):g}; it may be {LEAST_FPS:g} to {MOST_FPS:,.0f}")
    return float(fps)


def as_fraction(fps: float) -> Fraction:
    """The rate that a float stands for."""
    # 1001 is the denominator of the television rates (30000/1001); of slow ones the seconds of a frame are whole.
    return Fraction(fps).limit_denominator(1001) if fps >= 1 else 1 / Fraction(1 / fps).limit_denominator(1001)


def mean_rate(frames: int, last: float) -> float:
    """The average rate of frames of which the first is shown at 0 and the last at `last` seconds, above 0."""
    return min(max((frames - 1) / last, LEAST_FPS), MOST_FPS)


def header_rate(stream: VideoStream) -> float:
    """What a container and a codec say: the container's average, unless that is its clock's or a default."""
    average, guessed = stream.average_rate, stream.guessed_rate
    # Without stamps, FFmpeg's average is 25 where the codec knows better.
    clock = average is not None and stream.time_base is not None and average * stream.time_base == 1
    best = guessed if stream.start_time is None or (clock and guessed) else average
    rate = float(best or guessed or stream.base_rate or _UNKNOWN)
    return rate if LEAST_FPS <= rate <= MOST_FPS else _UNKNOWN


def measured_rate(claimed: float, stamps: Sequence[int], time_base: Fraction) -> float:
    """The rate of a file's first `STAMPS` packets by their stamps, where that is plainly another than the header's."""
    shown = sorted(set(stamps))
    if len(shown) == STAMPS:
        shown = shown[:_MEASURED]
    steps = [float((after - before) * time_base) for before, after in pairwise(shown)]
    steps = [step for step in steps if step <= LONGEST_STEP]
    if len(steps) < 2:
        return claimed
    rate = mean_rate(len(steps) + 1, sum(steps))
    # Twice the rate are a broadcast's fields, each in a packet of its own.
    return claimed if min(abs(rate / claimed - 1), abs(rate / claimed - 2)) <= _OFF else rate
