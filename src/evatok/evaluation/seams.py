"""Seams: whether a decoder's patches show in the videos that it makes."""

import torch
from torch import Tensor

_STILL = 1e-6  # added to both sides of the ratio: a picture of one colour has no seams


def patch_energy(video: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Mean change from pixel to pixel across the borders of patches over that elsewhere, `(B,)` float32.

    It is about 1 where patches do not show, and above where they do: where pictures are blocky, or speckled along the
    borders. Twice the contrast is the same.

    Args:
        video: `(B, F, 3, H, W)`, uint8 or float, with sides that are multiples of a patch's.
        patch: frames, height and width of a patch in pixels; the frames do not matter.

    Raises:
        ValueError: pictures with no border between patches, or patches one pixel high or wide.
    """
    height, width = video.shape[-2:]
    if min(patch[1:]) < 2 or (height <= patch[1] and width <= patch[2]):
        raise ValueError(f"seams need two patches of two pixels at least, got {height}x{width} in {patch[1:]}")
    across, within = [], []
    for axis, side in ((-2, patch[1]), (-1, patch[2])):
        change = video.float().diff(dim=axis).abs().movedim(axis, 1).flatten(2).mean(2)
        border = (torch.arange(change.shape[1], device=video.device) + 1) % side == 0
        across.append(change[:, border])
        within.append(change[:, ~border])
    return (torch.cat(across, 1).mean(1) + _STILL) / (torch.cat(within, 1).mean(1) + _STILL)
