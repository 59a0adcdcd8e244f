"""What a router measures of each block without any network: how much it changes over time and space, part by part.

Why these: a token's cell is a part of the picture, later blocks begin with the last frame of the block before, and
LPIPS normalises features place by place, so that a faint pattern may count as much as a strong one: hence logarithms of
parts and not one of the whole.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# Parts of the picture, in pixels a side.
_PART = 8
# Means over cells of so many pixels a side, as those of tokens are, are taken away.
_CELLS = (2, 4, 8)
MEASURES = 2 * (4 + 2 * len(_CELLS))
# Added before the logarithm, since a still part changes by 0. It hides rounding: a grey level of 255 is 8e-3 on the
# scale -1 to 1, and its square 6e-5.
_STILL = 1e-5
# About the mean and the deviation of the logarithms over clips, so that measures lie about 0.
_USUAL, _SPREAD = -7.0, 2.0


def measures(video: Tensor, blocks: int) -> Tensor:
    """How much the parts of each block change, by logarithms of mean squares: their mean and deviation over the parts.

    In shades of grey: the change from frame to frame, about the block's mean frame, from the last frame of the block
    before, and from pixel to pixel; and what is left of the block, and of its difference from that last frame, when
    means over cells of several sizes are taken away.

    Args:
        video: `(B, F, 3, H, W)` float in [-1, 1], H and W multiples of 8.
        blocks: of equal length, in which the frames are. Before the first one lies grey.

    Returns:
        `(B, blocks, MEASURES)` float32, about between −3 and 3, of each block and the frame before it alone.
    """
    grey = video.float().mean(2)
    own = grey.unflatten(1, (blocks, -1))
    before = torch.cat([torch.zeros_like(own[:, :1, -1]), own[:, :-1, -1]], 1)[:, :, None]
    # The step into a block belongs to it; none leads into the first.
    steps = grey.diff(dim=1, prepend=grey[:, :1]).unflatten(1, (blocks, -1))
    changes = [steps, own - own.mean(2, keepdim=True), own - before]
    changes += [_less_means(frames, side) for frames in (own, own - before) for side in _CELLS]
    squares = [_slopes(own), *(change.square() for change in changes)]
    parts = torch.stack([F.avg_pool2d(each.mean(2), _PART) for each in squares], 2).flatten(3)
    logarithms = ((parts + _STILL).log() - _USUAL) / _SPREAD
    return torch.cat([logarithms.mean(3), logarithms.std(3, correction=0)], 2)


def _slopes(frames: Tensor) -> Tensor:
    """Squared change to the next pixel, right and down, of `(B, blocks, f, H, W)`."""
    across, down = frames.diff(dim=-1).square(), frames.diff(dim=-2).square()
    return F.pad(across, (0, 1)) + F.pad(down, (0, 0, 0, 1))


def _less_means(frames: Tensor, side: int) -> Tensor:
    """Frames `(B, blocks, f, H, W)` less means over cells of `side` pixels, between which is interpolated."""
    seen = frames.flatten(0, 1)
    means = F.avg_pool2d(seen, side)
    smooth = F.interpolate(means, size=(seen.shape[-2], seen.shape[-1]), mode="bilinear")
    return frames - smooth.unflatten(0, frames.shape[:2])
