"""A video cut into 3D patches, each through one linear layer."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from evatok.nn.components import Whitened

# Of the patches and pictures that a model can be made for: pixels of a patch, and of the trained square's side.
MOST_PIXELS, MOST_SIDE = 2**16, 4096


def check_patch(patch: tuple[int, ...]) -> None:
    """ValueError for what is no size of a patch: frames, height and width, of at most 2^16 pixels together."""
    if len(patch) != 3 or min(patch) < 1:
        raise ValueError(f"patch must be three positive integers (frames, height, width), got {patch}")
    if math.prod(patch) > MOST_PIXELS:
        raise ValueError(f"patch must have at most {MOST_PIXELS} pixels in all of its frames, got {patch}")


def cut_patches(video: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Video `(B, F, 3, H, W)` as patches of (frames, height, width): `(B, blocks, h * w, 3 * their product)`."""
    frames, height, width = patch
    cut = video.unflatten(1, (-1, frames)).unflatten(-2, (-1, height)).unflatten(-1, (-1, width))
    return cut.permute(0, 1, 4, 6, 2, 3, 5, 7).flatten(4).flatten(2, 3)


def join_patches(patches: Tensor, patch: tuple[int, int, int], grid: tuple[int, int]) -> Tensor:
    """The reverse of `cut_patches`: `(B, blocks, h * w, size)` on a grid of `(h, w)` to video `(B, F, 3, H, W)`."""
    frames, height, width = patch
    cut = patches.unflatten(3, (frames, 3, height, width)).unflatten(2, grid)
    return cut.permute(0, 1, 4, 5, 2, 6, 3, 7).flatten(6, 7).flatten(4, 5).flatten(1, 2)


class Patches(nn.Module):
    """3D patches through one linear layer (paper, section 3).

    Args:
        patch: frames, height and width of a patch in pixels.
        width: channels of a patch's feature.
        whitened: whether the layer can begin with the principal components of patches.
    """

    def __init__(self, patch: tuple[int, int, int], width: int, whitened: bool = False) -> None:
        super().__init__()
        self.patch = patch
        frames, height, breadth = patch
        size = 3 * frames * height * breadth
        self.linear = Whitened(size, width) if whitened else nn.Linear(size, width)

    def forward(self, video: Tensor) -> Tensor:
        """Video `(B, F, 3, H, W)` in [-1, 1] to features `(B, blocks, h * w, width)`."""
        features: Tensor = self.linear(cut_patches(video, self.patch))
        return features

    @torch.no_grad()
    def start(self, videos: Iterable[Tensor], most: int, generator: torch.Generator) -> None:
        """Begins with the principal components of at most so many patches of videos `(B, F, 3, H, W)`."""
        if not isinstance(self.linear, Whitened):
            raise ValueError("only whitened patches begin with components of patches")
        patches = torch.cat([cut_patches(video, self.patch).flatten(0, 2) for video in videos])
        chosen = torch.randperm(len(patches), generator=generator)[:most]
        self.linear.start(patches[chosen.to(patches.device)])
