"""Whether a reconstruction shows the grid of its patches."""

import torch
from torch import Tensor

# A picture without any change has seams no more than elsewhere.
_STILL = 1e-3


def patch_energy(video: Tensor, patch: tuple[int, int]) -> Tensor:
    """Change from pixel to pixel across the borders of patches over that elsewhere, `(B,)` float32.

    1 means no more at the borders than elsewhere: no seams, no speckles on the grid.

    Args:
        video: `(B, F, 3, H, W)`, uint8 or float.
        patch: height and width of a patch, at least 2 each.
    """
    across, elsewhere = [], []
    for axis, size in ((-2, patch[0]), (-1, patch[1])):
        change = video.float().diff(dim=axis).abs().movedim(axis, -1).flatten(1, -2).mean(1)
        border = torch.arange(1, change.shape[1] + 1, device=video.device) % size == 0
        across.append(change[:, border].mean(1))
        elsewhere.append(change[:, ~border].mean(1))
    return (torch.stack(across).sum(0) + _STILL) / (torch.stack(elsewhere).sum(0) + _STILL)
