"""Views of pictures as frames, and cut-outs laid over frames."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from evatok.data.scenes.views import Views

# First and last rows and columns of a part of a picture.
Part = tuple[slice, slice]


def part_seen(views: Views) -> Part:
    """The part of a picture that views (n, 4) show, with a rim that smoothing between pixels needs."""
    y, x, side, angle = views.T
    reach = side / 2 * (np.abs(np.cos(angle)) + np.abs(np.sin(angle))) + 2
    rows, columns = ((int(max((at - reach).min(), 0)), math.ceil((at + reach).max())) for at in (y, x))
    return slice(*rows), slice(*columns)


def render(pictures: Tensor, views: Views, part: Part, side: int) -> Tensor:
    """What views show.

    Args:
        pictures: uint8 (1 or n, 3, H, W), the picture of all views or one for each.
        views: float64 (n, 4): y, x, side and angle in a picture; they stay inside.
        part: what these and others that are rendered along with them show. Frames depend on it by rounding.
        side: of the frames.

    Returns:
        uint8 (n, 3, side, side).
    """
    rows, columns = _rows_and_columns(views, side)
    seen = pictures[..., part[0], part[1]].float()
    height, width = seen.shape[-2:]
    grid = torch.stack([(columns - part[1].start) * (2 / width) - 1, (rows - part[0].start) * (2 / height) - 1], -1)
    seen = seen.expand(len(views), -1, -1, -1)
    frames = F.grid_sample(seen, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return frames.add_(0.5).clamp_(0, 255).byte()


def _rows_and_columns(views: Views, side: int) -> tuple[Tensor, Tensor]:
    """Where the frames' pixels lie in the picture, in its pixels from its corner: two of (n, side, side)."""
    y, x, extent, angle = torch.from_numpy(views).float()[:, None, None].unbind(-1)
    along = ((torch.arange(side) + 0.5) / side - 0.5) * extent
    down = along.mT
    cos, sin = torch.cos(angle), torch.sin(angle)
    return y + sin * along + cos * down, x + cos * along - sin * down


def lay_over(frames: Tensor, cutout: Tensor, placements: NDArray[np.float64], largest: float) -> None:
    """Lay a cut-out over frames, in place.

    Args:
        frames: uint8 (n, 3, side, side).
        cutout: uint8 (4, h, w), colours multiplied by alpha, then alpha.
        placements: float64 (n, 4): y and x of its centre and its longer side in frames' sides, and its angle in
            radians. Where it is outside a frame, that stays as it is.
        largest: the longest side in these placements and others along with them. Frames depend on it, as the
            cut-out is shrunk to it first.
    """
    side = frames.shape[-1]
    y, x, longer = placements[:, :3].T * side
    largest *= side
    box = math.ceil(largest * math.hypot(*cutout.shape[-2:]) / max(cutout.shape[-2:])) + 2
    top, left = np.floor(y - box / 2).astype(int), np.floor(x - box / 2).astype(int)
    shown = np.flatnonzero((top < side) & (left < side) & (top + box > 0) & (left + box > 0))
    if not len(shown):
        return
    within = np.stack([y - top, x - left, longer, placements[:, 3]], 1)[shown]
    distinct, which = np.unique(within.round(6), axis=0, return_inverse=True)
    patches = _patches(_shrunk(cutout, largest), distinct, box)
    for number, patch in zip(shown, which, strict=True):
        _blend(frames[number], patches[patch], int(top[number]), int(left[number]))


def _shrunk(cutout: Tensor, longer: float) -> Tensor:
    """A cut-out (4, h, w) whose longer side is at most about `longer` pixels."""
    factor = longer / max(cutout.shape[-2:])
    if factor >= 1:
        return cutout
    size = [max(round(length * factor), 1) for length in cutout.shape[-2:]]
    return F.interpolate(cutout[None], size, mode="bilinear", antialias=True)[0]


def _patches(cutout: Tensor, placements: NDArray[np.float64], box: int) -> Tensor:
    """The cut-out in squares of `box` pixels: float32 (n, 4, box, box). Rows: centre y, x, longer side, angle."""
    size = cutout.shape[-2:]
    y, x, longer, angle = torch.from_numpy(placements).float()[:, None, None].unbind(-1)
    place = torch.arange(box) + 0.5
    right, down = place - x, place[:, None] - y
    cos, sin = torch.cos(angle), torch.sin(angle)
    scale = max(size) / longer  # pixels of the cut-out in one of the frame
    columns, rows = (cos * right + sin * down) * scale, (cos * down - sin * right) * scale
    grid = torch.stack([columns * (2 / size[1]), rows * (2 / size[0])], -1)
    return F.grid_sample(cutout.float().expand(len(placements), -1, -1, -1), grid, align_corners=False)


def _blend(frame: Tensor, patch: Tensor, top: int, left: int) -> None:
    """Lay a patch (4, box, box) over a frame (3, side, side) from that corner on, which may be outside."""
    side, box = frame.shape[-1], patch.shape[-1]
    patch = patch[:, max(-top, 0) : min(side - top, box), max(-left, 0) : min(side - left, box)]
    part = frame[:, max(top, 0) : max(top, 0) + patch.shape[-2], max(left, 0) : max(left, 0) + patch.shape[-1]]
    mixed = part.float().mul_(1 - patch[3] / 255).add_(patch[:3])
    part.copy_(mixed.add_(0.5).clamp_(0, 255))
