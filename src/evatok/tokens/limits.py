"""How much a token file may ask of whoever reads it."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class TokenLimits:
    """What is plausible of tokens that somebody else made: a small file can claim far more than it holds.

    Files of your own may need more: `TokenLimits(pixels=10**9)`.

    Args:
        videos: videos of a file.
        blocks: blocks of a file, its last clips counted as full: 2^21 of four frames are 3 days of 30 frames/s.
        times: frames of videos of variable rate, each of which has a time stamp: 2^21 are 19 hours of 30 frames/s.
        pixels: height times width of a decoded frame; of the common sizes 8192 × 4320 is the largest.
        enlarged: pixels that a model is asked to make of a frame, over those of the area that it was trained on: the
            time for it grows with their square.

    Raises ValueError for a limit that is no integer of at least 1.
    """

    videos: int = 2**17
    blocks: int = 2**21
    times: int = 2**21
    pixels: int = 8192 * 4320
    enlarged: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            limit = getattr(self, field.name)
            if type(limit) is not int or limit < 1:
                raise ValueError(f"{field.name} must be an integer of at least 1, got {limit!r:.80}")

    def check(self, name: str, value: int, what: str) -> None:
        """ValueError where `value` is above the limit of that name; `what` begins the sentence."""
        limit = getattr(self, name)
        if value > limit:
            raise ValueError(
                f"{what} {value}, above the {limit} of limits.{name}, which may be raised for a trusted file"
            )


DEFAULT_LIMITS = TokenLimits()
