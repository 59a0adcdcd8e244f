"""The Q-Former encoder: a video's patches in, one feature for every 1D token out (paper, section 3)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evatok.nn.packed import Layout, Packed
from evatok.nn.patches import Patches
from evatok.nn.positions import (
    PositionEmbedding,
    Rotary,
    cell_centres,
    nearest_grid,
    patch_offsets,
    pooling_matrix,
)
from evatok.nn.transformer import LayerMemory, Located, Transformer
from evatok.tokenizer.config import TokenizerConfig


@dataclass(frozen=True)
class Picture:
    """The patch grid of a video's frames and its size in units of the trained square's side."""

    grid: tuple[int, int]
    extent: tuple[float, float]

    @classmethod
    def of(cls, size: tuple[int, int], config: TokenizerConfig) -> "Picture":
        """For frames of `size` (height, width) in pixels, which must be multiples of the patch."""
        patch = config.patch[1:]
        if any(side < step or side % step for side, step in zip(size, patch, strict=True)):
            raise ValueError(f"height and width must be positive multiples of {patch}, got {size}")
        grid = (size[0] // patch[0], size[1] // patch[1])
        return cls(grid, (size[0] / config.side, size[1] / config.side))

    def token_grid(self, tokens: int) -> tuple[int, int]:
        """Cells that `tokens` queries of a block stand for."""
        return nearest_grid(tokens, self.grid[0] / self.grid[1])

    def token_coordinates(self, layout: Layout) -> Tensor:
        """Coordinates `(N, 3)` of the 1D tokens of a layout: block, and the centre of each token's cell."""
        centres = [
            cell_centres(self.token_grid(tokens), self.extent) for lengths in layout.lengths for tokens in lengths
        ]
        return torch.cat((layout.block[:, None].float(), torch.cat(centres)), 1)

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


class Encoder(nn.Module):
    """Queries pooled from their own block's grid read the patches of blocks up to their own."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        width = config.encoder.width
        self.config = config
        self.patches = Patches(config.patch, width)
        self.patch_position = PositionEmbedding(width, with_level=False)
        self.query_position = PositionEmbedding(width, with_level=True)
        self.slopes = nn.Linear(width, 2 * width, bias=False)
        # Steep from the start: tokens of one patch that begin nearly equal stay so.
        nn.init.normal_(self.slopes.weight, std=4 * width**-0.5)
        self.rotary = Rotary(width // config.encoder.heads)
        self.transformer = Transformer(config.encoder)
        self.out = nn.Linear(width, config.quantizer.dim)

    def forward(
        self, video: Tensor, layout: Layout, earlier: tuple[LayerMemory, ...] | None = None
    ) -> tuple[Packed, tuple[LayerMemory, ...]]:
        """Features of the 1D tokens.

        Args:
            video: the frames of the layout's blocks, `(B, F, 3, H, W)` in [-1, 1].
            layout: numbers of tokens of these blocks.
            earlier: what a call on the blocks before these returned.

        Returns:
            Features `(N, quantizer.dim)`, and the memory for the blocks that follow.
        """
        picture = Picture.of((video.shape[-2], video.shape[-1]), self.config)
        grid = self.patches(video)
        patch_layout = picture.patch_layout(layout)
        patch_at = picture.patch_coordinates(patch_layout).to(video.device)
        query_at = picture.token_coordinates(layout).to(video.device)
        levels = token_levels(layout).to(video.device)
        patches = grid.flatten(0, 2) + self.patch_position(patch_at)
        queries = self._pool(grid, picture, layout) + self.query_position(query_at, levels)
        features, memory = self.transformer(
            Located(Packed(queries, layout), self.rotary(query_at)),
            Located(Packed(patches, patch_layout), self.rotary(patch_at)),
            earlier,
        )
        return features.with_values(self.out(features.values)), memory

    def _pool(self, grid: Tensor, picture: Picture, layout: Layout) -> Tensor:
        """Queries `(N, width)` from the grids `(B, blocks, h * w, width)` of their own blocks."""
        pooled = []
        for run in layout.runs:
            clips = grid[run.first_clip : run.first_clip + run.clips]
            blocks = [
                self._pool_block(clips[:, block], picture.token_grid(tokens), picture.grid)
                for block, tokens in enumerate(run.lengths)
            ]
            pooled.append(torch.cat(blocks, 1).flatten(0, 1))
        return torch.cat(pooled)

    def _pool_block(self, features: Tensor, cells: tuple[int, int], grid: tuple[int, int]) -> Tensor:
        """Queries `(B, cells, width)` from features `(B, h * w, width)` of a grid of patches.

        Where cells are finer than patches, interpolation alone makes neighbours nearly equal, and so would be their
        tokens. A learned slope, times the cell's place within its patch, tells them apart.
        """
        pooled = torch.einsum("kn,bnd->bkd", pooling_matrix(cells, grid).to(features), features)
        offsets = patch_offsets(cells, grid).to(features)
        return pooled + torch.einsum("kc,bkcd->bkd", offsets, self.slopes(pooled).unflatten(-1, (2, -1)))
