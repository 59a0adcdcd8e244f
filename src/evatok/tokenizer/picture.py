"""The picture that a model sees: its grid of patches, the cells of a block's tokens, and where all of them lie."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evatok.nn.packed import Layout
from evatok.nn.positions import cell_centres, nearest_grid, resizing_matrix
from evatok.tokenizer.config import TokenizerConfig


@dataclass(frozen=True)
class Picture:
    """The patch grid of a video's frames, its size in units of the trained square's side, and a patch's in pixels."""

    grid: tuple[int, int]
    extent: tuple[float, float]
    patch: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], config: TokenizerConfig) -> "Picture":
        """For frames of `size` (height, width) in pixels, which must be multiples of the patch."""
        patch = config.patch[1:]
        if any(side < step or side % step for side, step in zip(size, patch, strict=True)):
            raise ValueError(f"height and width must be positive multiples of {patch}, got {size}")
        grid = (size[0] // patch[0], size[1] // patch[1])
        return cls(grid, (size[0] / config.side, size[1] / config.side), patch)

    def token_grid(self, tokens: int) -> tuple[int, int]:
        """Cells that `tokens` queries of a block stand for."""
        return nearest_grid(tokens, self.grid[0] / self.grid[1])

    def token_coordinates(self, layout: Layout) -> Tensor:
        """Coordinates `(N, 3)` of the 1D tokens of a layout: block, and the centre of each token's cell."""
        centres = [
            cell_centres(self.token_grid(tokens), self.extent) for lengths in layout.lengths for tokens in lengths
        ]
        return torch.cat((layout.block[:, None].float(), torch.cat(centres)), 1)

    def cells(self, frames: Tensor, tokens: int) -> Tensor:
        """The cells of `tokens` tokens, each brought to the size of a patch.

        Frames `(B, f, 3, H, W)` to `(B, tokens, f * 3 * patch height * patch width)`.
        """
        grid = self.token_grid(tokens)
        resized = self._resized(frames, (grid[0] * self.patch[0], grid[1] * self.patch[1]))
        cut = resized.unflatten(3, (grid[0], -1)).unflatten(5, (grid[1], -1))
        return cut.permute(0, 3, 5, 1, 2, 4, 6).flatten(3).flatten(1, 2)

    def frames(self, cells: Tensor, tokens: int) -> Tensor:
        """The reverse of `cells`, but for what resizing loses: frames `(B, f, 3, H, W)`."""
        grid, patch = self.token_grid(tokens), self.patch
        cut = cells.unflatten(2, (-1, 3, *patch)).unflatten(1, grid)
        joined = cut.permute(0, 3, 4, 1, 5, 2, 6).flatten(5, 6).flatten(3, 4)
        return self._resized(joined, (self.grid[0] * patch[0], self.grid[1] * patch[1]))

    @staticmethod
    def _resized(frames: Tensor, size: tuple[int, int]) -> Tensor:
        """Frames in another size: means over areas where that is smaller, linear between pixels where it is larger."""
        height, width = frames.shape[-2], frames.shape[-1]
        if width != size[1]:
            frames = frames @ resizing_matrix(size[1], width).to(frames).T
        return frames if height == size[0] else resizing_matrix(size[0], height).to(frames) @ frames

    def patch_layout(self, tokens: Layout) -> Layout:
        """Layout of the patches of the clips and blocks of a layout of 1D tokens."""
        cells = self.grid[0] * self.grid[1]
        return Layout(tuple((cells,) * len(lengths) for lengths in tokens.lengths), tokens.first_block)

    def patch_coordinates(self, layout: Layout) -> Tensor:
        """Coordinates `(N, 3)` of the patches of a layout as `patch_layout` gives it."""
        centres = cell_centres(self.grid, self.extent)
        blocks = layout.size // len(centres)
        return torch.cat((layout.block[:, None].float(), centres.repeat(blocks, 1)), 1)


def token_levels(layout: Layout) -> Tensor:
    """Number of tokens of each element's own block, `(N,)` int64."""
    counts = torch.tensor([tokens for lengths in layout.lengths for tokens in lengths])
    return torch.repeat_interleave(counts, counts)
