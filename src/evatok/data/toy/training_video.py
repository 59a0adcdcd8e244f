"""Videos as training reads them best: small pictures, key frames close to each other, decoded cheaply."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
from torch import Tensor

from evatok.video.reading import probe

PARTS = ("train", "validation")
# Training reads short pieces from anywhere in a video.
_ENCODING = {"crf": "16", "g": "12", "preset": "veryfast", "tune": "fastdecode"}


def size_at_height(video: Path, height: int) -> tuple[int, int]:
    """Height and width, both even, of a video that is shrunk to a height.

    Raises:
        ValueError: `height` is not an even number of pixels.
    """
    if height < 2 or height % 2:
        raise ValueError(f"height must be an even number of pixels, not {height}")
    of_file = probe(video).size
    return height, round(height * of_file[1] / of_file[0] / 2) * 2


def write_training_video(path: Path, frames: Iterable[Tensor], fps: float) -> int:
    """Write frames, uint8 (3, H, W) with even sides and at least one, as H.264; returns their number."""
    stream_of_frames = iter(frames)
    first = next(stream_of_frames)
    written = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=_ENCODING)
        stream.height, stream.width = first.shape[1:]
        stream.pix_fmt = "yuv420p"
        for frame in chain([first], stream_of_frames):
            picture = frame.permute(1, 2, 0).contiguous().numpy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            written += 1
        container.mux(stream.encode())
    return written


class Counts(NamedTuple):
    """Numbers of videos and of their frames."""

    videos: int
    frames: int


def count_videos(folder: Path) -> dict[str, Counts]:
    """What the folder's `train` and `validation` hold."""
    frames = {part: [probe(path).frames or 0 for path in (folder / part).glob("*.mp4")] for part in PARTS}
    return {part: Counts(len(each), sum(each)) for part, each in frames.items()}
