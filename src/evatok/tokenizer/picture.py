"""The picture that a model sees: its grid of patches, the cells of a block's tokens, and where all of them lie."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from evatok.nn.packed import Layout, on_device
from evatok.nn.patches import cut_patches, join_patches
from evatok.nn.positions import cell_centres, like, nearest_grid, resizing_matrix
from evatok.tokenizer.config import TokenizerConfig

# Of a pass over a block. A product of fewer rows rounds differently, so a clip's codes would depend on its neighbours.
FEWEST_CELLS = 4


class Places(NamedTuple):
    """Where the tokens and the patches of a layout of 1D tokens lie.

    Args:
        tokens: block and centre of each token's cell, `(N, 3)`.
        levels: number of tokens of each token's own block, `(N,)` int64.
        passes: number of each token's pass over its block, from 0 on, `(N,)` int64.
        patches: block and centre of each patch, `(M, 3)`.
        patch_layout: the layout of the patches of these clips and blocks.
    """

    tokens: Tensor
    levels: Tensor
    passes: Tensor
    patches: Tensor
    patch_layout: Layout


@dataclass(frozen=True)
class Picture:
    """A video's frames as tokens see them.

    Args:
        grid: patches down and across.
        extent: height and width in sides of the trained square.
        patch: height and width of a patch in pixels.
        shares: of a block's tokens in the passes over it.
    """

    grid: tuple[int, int]
    extent: tuple[float, float]
    patch: tuple[int, int]
    shares: tuple[int, ...]

    @classmethod
    def of(cls, size: tuple[int, int], config: TokenizerConfig) -> "Picture":
        """For frames of `size` (height, width) in pixels, which must be multiples of the patch."""
        patch = config.patch[1:]
        if any(side < step or side % step for side, step in zip(size, patch, strict=True)):
            raise ValueError(f"height and width must be positive multiples of {patch}, got {size}")
        grid = (size[0] // patch[0], size[1] // patch[1])
        shares = config.sketch.passes if config.sketch else (1,)
        return cls(grid, (size[0] / config.side, size[1] / config.side), patch, shares)

    def passes(self, tokens: int) -> tuple[int, ...]:
        """Numbers of cells of the passes over a block of `tokens` tokens."""
        cells = tuple(tokens * share // sum(self.shares) for share in self.shares)
        return cells if sum(cells) == tokens and min(cells) >= FEWEST_CELLS else (tokens,)

    def token_grid(self, cells: int) -> tuple[int, int]:
        """The grid of a pass of so many cells."""
        return nearest_grid(cells, self.grid[0] / self.grid[1])

    def cells(self, frames: Tensor, count: int) -> Tensor:
        """The cells of a pass of `count`, each brought to the size of a patch.

        Frames `(B, f, 3, H, W)` to `(B, count, f * 3 * patch height * patch width)`.
        """
        grid = self.token_grid(count)
        resized = self._resized(frames, (grid[0] * self.patch[0], grid[1] * self.patch[1]))
        return cut_patches(resized, (frames.shape[1], *self.patch))[:, 0]

    def frames(self, cells: Tensor) -> Tensor:
        """The reverse of `cells`, but for what resizing loses: frames `(B, f, 3, H, W)`."""
        height, width = self.patch
        patch = cells.shape[2] // (3 * height * width), height, width
        joined = join_patches(cells[:, None], patch, self.token_grid(cells.shape[1]))
        return self._resized(joined, (self.grid[0] * height, self.grid[1] * width))

    @staticmethod
    def _resized(frames: Tensor, size: tuple[int, int]) -> Tensor:
        """Frames in another size: means over areas where that is smaller, linear between pixels where it is larger."""
        height, width = frames.shape[-2], frames.shape[-1]
        if width != size[1]:
            frames = frames @ like(frames, resizing_matrix, size[1], width).T
        return frames if height == size[0] else like(frames, resizing_matrix, size[0], height) @ frames


@lru_cache(maxsize=16)  # encoder and decoder share them
@torch.inference_mode(False)  # and training those that were made before it
def places_of(picture: Picture, layout: Layout, device: torch.device) -> Places:
    """Places of a layout of 1D tokens over a picture, on a device."""
    passes = [part for row in layout.lengths for tokens in row for part in enumerate(picture.passes(tokens))]
    centres = [cell_centres(picture.token_grid(count), picture.extent) for _, count in passes]
    tokens = torch.cat((layout.block[:, None].float(), torch.cat(centres)), 1)
    numbers, counts = torch.tensor(passes).unbind(1)
    cells = cell_centres(picture.grid, picture.extent)
    patch_layout = Layout(tuple((len(cells),) * len(row) for row in layout.lengths), layout.first_block)
    blocks = patch_layout.size // len(cells)
    patches = torch.cat((patch_layout.block[:, None].float(), cells.repeat(blocks, 1)), 1)
    tables = tokens, token_levels(layout), numbers.repeat_interleave(counts), patches
    tokens, levels, numbers, patches = (on_device(table, device) for table in tables)
    return Places(tokens, levels, numbers, patches, patch_layout)


def token_levels(layout: Layout) -> Tensor:
    """Number of tokens of each element's own block, `(N,)` int64."""
    counts = torch.tensor([tokens for lengths in layout.lengths for tokens in lengths])
    return torch.repeat_interleave(counts, counts)
