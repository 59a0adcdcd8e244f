"""Pictures between tensors and FFmpeg's frames, and resized by FFmpeg on the way.

This is for what is looked at: it takes a tenth of the time of `fit.resize`, by which goes all that a model sees.
"""

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from torch import Tensor

# Without these, white of 10 bits and of resized pictures with halved chroma comes out two levels darker.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


class Scaler:
    """Resizes pictures: area-averaged where they shrink, else bicubic. One for many pictures, and for one thread."""

    def __init__(self) -> None:
        # To set one up costs more than to convert a small frame.
        self._reformatter = VideoReformatter()

    def frame(self, frame: VideoFrame, size: tuple[int, int] | None, format: str, **more: int) -> VideoFrame:
        """A frame in a pixel format, and in another size (height, width) if one is given; `more` as PyAV takes it."""
        own = (frame.height, frame.width)
        size = size or own
        if size == own and max(part.bits for part in frame.format.components) <= 8:
            return self._reformatter.reformat(frame, format=format, **more)
        shrinks = size[0] * size[1] < own[0] * own[1]
        how = (Interpolation.AREA if shrinks else Interpolation.BICUBIC) | _EXACT
        return self._reformatter.reformat(frame, size[1], size[0], format, interpolation=how, **more)

    def picture(self, picture: Tensor, size: tuple[int, int]) -> Tensor:
        """A picture `(3, H, W)` uint8 in another size (height, width)."""
        return to_picture(self.frame(to_frame(picture), size, "rgb24"))


def to_frame(picture: Tensor) -> VideoFrame:
    """A picture `(3, H, W)` uint8 as a frame."""
    return VideoFrame.from_ndarray(np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy()), format="rgb24")


def to_picture(frame: VideoFrame) -> Tensor:
    """A frame in `rgb24` as a picture `(3, H, W)` uint8, a view of pixels that lie one after the other."""
    return torch.from_numpy(frame.to_ndarray()).permute(2, 0, 1)
