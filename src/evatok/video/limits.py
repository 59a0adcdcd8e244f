"""How large the pictures of a video may be, and how many threads decode them: a decoder's memory is its pictures'."""

import os

# Starting threads takes longer than coding frames of at most so many pixels.
SMALL_PICTURE = 256 * 256
LIMIT = "EVATOK_MAX_PIXELS"
# Of a picture, as 4096 x 4096 has: what cameras make up to 5.7K. A decoder may hold 17 of them.
MOST_PIXELS = 2**24
# Pixels of the pictures that a decoder's threads hold, each its own: a 4K video has four threads, 8K one.
_IN_HAND = 2**25
_MOST_THREADS = 16  # that FFmpeg takes by itself


def most_pixels() -> int:
    """Pixels of the largest picture that is read; the environment says it, as every process that reads should know.

    Raises ValueError where that is no whole number of at least 1.
    """
    given = os.environ.get(LIMIT)
    if given is None:
        return MOST_PIXELS
    try:
        most = int(given)
    except ValueError:
        most = 0
    if most < 1:
        raise ValueError(f"{LIMIT}: got {given!r:.80}; it is a whole number of at least 1")
    return most


def too_large(width: int, height: int, most: int) -> str:
    """Why pictures of a size are refused, and what to do about it."""
    enough = 1 << (width * height - 1).bit_length()
    return (
        f"its pictures of {width}x{height} pixels are too large: at most {most} pixels are read; "
        f"for a file that you trust, {LIMIT}={enough} in the environment raises that"
    )


def no_such_size(most: int) -> str:
    """Why a decoder refuses pictures that are larger than their container says, or that nothing could be."""
    return (
        f"it breaks off at pictures of a size that is not read: at most {most} pixels are; "
        f"for a file that you trust, {LIMIT} in the environment raises that"
    )


def threads_for(pixels: int) -> int:
    """Threads that decode pictures of so many pixels; 0 leaves their number to FFmpeg, by that of the processors."""
    if pixels <= SMALL_PICTURE:
        return 1
    most = min(max(1, _IN_HAND // pixels), _MOST_THREADS)
    return 0 if most > (os.cpu_count() or 1) else most
