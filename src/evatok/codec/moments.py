"""Moments of a video whose length nobody knows beforehand, and when its frames and blocks are shown."""

from collections.abc import Sequence

from torch import Tensor

from evatok.tokens.tokens import Tokens, VideoRecord

MOMENTS = 6


class Moments:
    """Pairs of frames (original, reconstruction) from all over a stream of them whose length nobody knows."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._step, self._frames = 1, 0

    def add(self, original: Tensor, reconstruction: Tensor) -> None:
        """The next pair of the stream; every second one of those that are kept goes when they become many."""
        if self._frames % self._step == 0:
            self._kept[self._frames] = original, reconstruction
        if len(self._kept) > 4 * MOMENTS:
            self._step *= 2
            self._kept = {number: pair for number, pair in self._kept.items() if number % self._step == 0}
        self._frames += 1

    def evenly(self) -> tuple[list[int], list[tuple[Tensor, Tensor]]]:
        """Numbers of up to `MOMENTS` frames, and the pairs: those nearest to the middles of equal stretches."""
        wanted = evenly(self._frames, MOMENTS)
        numbers = sorted({min(self._kept, key=lambda kept: abs(kept - number)) for number in wanted})
        return numbers, [self._kept[number] for number in numbers]


def evenly(frames: int, count: int) -> list[int]:
    """Numbers of up to `count` frames in the middles of equal stretches of a video."""
    count = min(count, frames)
    return [(2 * i + 1) * frames // (2 * count) for i in range(count)]


def block_lengths(tokens: Tokens) -> list[int]:
    """Tokens of each block of a video."""
    return tokens.lengths[tokens.lengths > 0].tolist()


def block_edges(tokens: Tokens) -> list[float]:
    """Seconds at which the blocks of a video begin, and its end."""
    record = tokens.videos[0]
    return [*frame_seconds(record, range(0, record.frames, tokens.format.block_frames)), record.seconds]


def frame_seconds(record: VideoRecord, frames: Sequence[int]) -> list[float]:
    """When frames of a video are shown."""
    return [i / record.fps for i in frames] if record.times is None else record.times[list(frames)].tolist()
