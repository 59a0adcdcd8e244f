"""What lies around the patches of a video: seen by a patch, and drawn by it, so that borders have two sides.

Patches that overlap do for a decoder what lapped transforms do for a codec (Malvar and Staelin 1989). Both layers begin
with zeros: a model without them is where one with them begins.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, unfold

from evatok.nn.packed import on_device


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # training uses those that were made before it
def _around(height: int, width: int, overlap: int, device: torch.device) -> Tensor:
    """Which pixels of a window `(height + 2 overlap, width + 2 overlap)` are not its patch's: int64."""
    outside = torch.ones(height + 2 * overlap, width + 2 * overlap, dtype=torch.bool, device="cpu")
    outside[overlap:-overlap, overlap:-overlap] = False
    return on_device(outside.flatten().nonzero()[:, 0], device)


class _Windows:
    """Windows of a patch and `overlap` pixels around it over pictures, one a patch."""

    def __init__(self, patch: tuple[int, int, int], overlap: int) -> None:
        self.frames, self.height, self.width = patch
        self.kernel = self.height + 2 * overlap, self.width + 2 * overlap
        self.overlap = overlap

    @property
    def numbers(self) -> int:
        """Channels of all pixels around a patch."""
        return 3 * self.frames * (self.kernel[0] * self.kernel[1] - self.height * self.width)

    def around(self, device: torch.device) -> Tensor:
        """Which of a window's pixels these are."""
        return _around(self.height, self.width, self.overlap, device)

    def cut(self, pictures: Tensor) -> Tensor:
        """Pictures `(n, c, H, W)` to what is around their patches `(n, patches, c * pixels)`, grey outside of them."""
        windows = unfold(pictures, self.kernel, padding=self.overlap, stride=(self.height, self.width))
        pixels = windows.unflatten(1, (pictures.shape[1], -1))
        return pixels.index_select(2, self.around(pictures.device)).flatten(1, 2).mT

    def lay(self, margins: Tensor, grid: tuple[int, int]) -> Tensor:
        """The transpose of `cut`: margins `(n, patches, c * pixels)` added up to pictures `(n, c, H, W)`."""
        channels, area = 3 * self.frames, self.kernel[0] * self.kernel[1]
        pixels = margins.mT.unflatten(1, (channels, -1))
        windows = pixels.new_zeros(len(pixels), channels, area, pixels.shape[-1])
        windows = windows.index_copy(2, self.around(margins.device), pixels).flatten(1, 2)
        size = grid[0] * self.height, grid[1] * self.width
        return fold(windows, size, self.kernel, padding=self.overlap, stride=(self.height, self.width))


class Surroundings(nn.Module):
    """The pixels around 3D patches through one linear layer.

    Args:
        patch: frames, height and width of a patch in pixels.
        width: channels of a patch's feature.
        overlap: how many pixels from a patch's sides are seen, at least 1.
    """

    def __init__(self, patch: tuple[int, int, int], width: int, overlap: int) -> None:
        super().__init__()
        self.windows = _Windows(patch, overlap)
        self.linear = nn.Linear(self.windows.numbers, width, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, video: Tensor) -> Tensor:
        """Video `(B, F, 3, H, W)` to what is added to its patches' features, `(B, blocks, h * w, width)`."""
        blocks = video.unflatten(1, (-1, self.windows.frames)).flatten(2, 3)
        features: Tensor = self.linear(self.windows.cut(blocks.flatten(0, 1)))
        return features.unflatten(0, blocks.shape[:2])


class Margins(nn.Module):
    """What patches draw around themselves, by one linear layer; where margins meet they are added up.

    Args:
        patch: frames, height and width of a patch in pixels.
        width: channels of a patch's feature.
        overlap: how many pixels from a patch's sides are drawn, at least 1.
    """

    def __init__(self, patch: tuple[int, int, int], width: int, overlap: int) -> None:
        super().__init__()
        self.windows = _Windows(patch, overlap)
        self.linear = nn.Linear(width, self.windows.numbers, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, features: Tensor, grid: tuple[int, int]) -> Tensor:
        """Features `(B, blocks, h * w, width)` to what is added to their video, `(B, F, 3, H, W)`."""
        drawn = self.linear(features)
        pictures = self.windows.lay(drawn.flatten(0, 1).to(torch.promote_types(drawn.dtype, torch.float32)), grid)
        return pictures.unflatten(1, (self.windows.frames, 3)).unflatten(0, drawn.shape[:2]).flatten(1, 2)
