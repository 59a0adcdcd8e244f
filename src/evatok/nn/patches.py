"""A video cut into 3D patches, each through one linear layer."""

from torch import Tensor, nn


class Patches(nn.Module):
    """3D patches through one linear layer (paper, section 3).

    Args:
        patch: frames, height and width of a patch in pixels.
        width: channels of a patch's feature.
    """

    def __init__(self, patch: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.patch = patch
        frames, height, breadth = patch
        self.linear = nn.Linear(3 * frames * height * breadth, width)

    def forward(self, video: Tensor) -> Tensor:
        """Video `(B, F, 3, H, W)` in [-1, 1] to features `(B, blocks, h * w, width)`."""
        frames, height, width = self.patch
        cut = video.unflatten(1, (-1, frames)).unflatten(-2, (-1, height)).unflatten(-1, (-1, width))
        return self.linear(cut.permute(0, 1, 4, 6, 2, 3, 5, 7).flatten(4).flatten(2, 3))
