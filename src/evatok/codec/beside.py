"""Videos of what a model made, alone and beside what it saw: written as they come, at sizes for a screen."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from torch import Tensor

from evatok.codec.moments import Moments
from evatok.figures.frames import side_by_side
from evatok.video.fit import Box, Fit, Size, crop
from evatok.video.reading import VideoReader, write_video
from evatok.video.scaling import Scaler

# Pixels of height and width at which frames are shown, at most: two side by side fit a Full HD screen.
HIGHEST, WIDEST = 720, 956


# Consecutive frames `(n, 3, h, w)` uint8 as the model made them, and the seconds at which they are shown.
Made = tuple[Tensor, Sequence[float]]


def apart(made: Iterable[Made]) -> tuple[Iterator[Tensor], Iterator[float]]:
    """Frames in pieces, and the time of each frame, which is there once its piece has been taken.

    Of the pieces that were taken only the last one is held; `tee` would hold up to 57.
    """
    waiting: deque[float] = deque()

    def frames() -> Iterator[Tensor]:
        for some, times in made:
            waiting.extend(times)
            yield some

    def seconds() -> Iterator[float]:
        while waiting:
            yield waiting.popleft()

    return frames(), seconds()


def write_made(path: Path, fit: Fit, fps: float, made: Iterable[Made]) -> None:
    """Writes a video of what was made, as large as the source; `fps` is the rate of the file."""
    frames, times = apart(made)
    write_video(
        path,
        (crop(some, fit.inner) for some in frames),
        fps=fps,
        pixel_aspect=Fraction(*fit.pixel_aspect),
        times=times,
        size=fit.output_size,
    )


def write_beside(
    path: Path,
    source: Path,
    fit: Fit,
    made: Iterable[Made],
    *,
    fps: float | None = None,
    track: int | None = None,
    moments: Moments | None = None,
    highest: int = HIGHEST,
) -> None:
    """Writes a video of a source's frames beside what was made of them, as far as that goes.

    Args:
        path: of the video.
        source: is read once more, for its frames at the size at which they are shown.
        fit: by which the model saw them.
        made: what the model made of them, from the first frame on.
        fps: rate to which the source was resampled; None: it was not.
        track: number of the source's video track; None: the longest.
        moments: keeps some of the pairs; None: nothing does.
        highest: pixels of the pictures' height, at most.
    """
    frames, times = apart(made)
    captions = ("original", "reconstruction") if can_draw() else ("", "")
    scale = _height(fit.output_size, highest) / fit.output_size[0]
    whole = (max(1, round(fit.source[0] * scale)), max(1, round(fit.source[1] * scale)))
    scaler = Scaler()

    def pairs() -> Iterator[Tensor]:
        for (frame, _), small in zip(reader, chain.from_iterable(frames), strict=False):
            original = crop(frame, _scaled(fit.box, scale, whole))
            reconstruction = scaler.picture(crop(small, fit.inner), (original.shape[-2], original.shape[-1]))
            if moments:
                moments.add(original, reconstruction)
            yield side_by_side((original, reconstruction), captions)

    with VideoReader(source, fps=fps, size=whole, track=track) as reader:
        write_video(path, pairs(), fps=fps or reader.info.fps, times=times)


def _scaled(box: Box, scale: float, whole: Size) -> Box:
    """A box in a picture that has been scaled to a size; it stays inside."""
    top, left = (min(round(start * scale), side - 1) for start, side in zip(box[:2], whole, strict=True))
    height, width = (max(1, round(length * scale)) for length in box[2:])
    return top, left, min(height, whole[0] - top), min(width, whole[1] - left)


def _height(size: Size, highest: int) -> int:
    """Height at which a picture is shown: small ones larger, large and very wide ones smaller; two fill a screen."""
    height, width = size
    return max(1, min(max(height, 240), highest, WIDEST * height // width))


def can_draw() -> bool:
    """Whether there is what the extra `figures` brings."""
    return all(find_spec(name) for name in ("matplotlib", "PIL"))
