"""The Q-Former encoder: a video's patches in, one feature for every 1D token out (paper, section 3)."""

import torch
from torch import Tensor, nn

from evatok.nn.packed import Layout, Packed, groups_of, in_order, rows_of
from evatok.nn.patches import Patches
from evatok.nn.positions import PositionEmbedding, Rotary, like, patch_offsets, pooling_matrix
from evatok.nn.transformer import LayerMemory, Located, Transformer
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.picture import Picture, places_of


class Encoder(nn.Module):
    """Queries from the cells of their own block's grid read the patches of blocks up to their own."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        width, sketched = config.encoder.width, config.sketch is not None
        self.config = config
        self.patches = Patches(config.patch, width, whitened=sketched)
        self.patch_position = PositionEmbedding(width, with_level=False)
        self.query_position = PositionEmbedding(width, with_level=True)
        self.slopes = None if sketched else nn.Linear(width, 2 * width, bias=False)
        self.rotary = Rotary(width // config.encoder.heads)
        self.transformer = Transformer(config.encoder)
        self.out = nn.Linear(width, config.quantizer.dim)
        if self.slopes is not None:
            # Steep from the start: tokens of one patch that begin nearly equal stay so.
            nn.init.normal_(self.slopes.weight, std=4 * width**-0.5)
        else:
            # What a sketch lacks is coded from the first step on; this adds to it.
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

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
        places = places_of(picture, layout, video.device)
        patches = grid.flatten(0, 2) + self.patch_position(places.patches)
        queries = self._queries(video, grid, picture, layout) + self.query_position(places.tokens, places.levels)
        features, memory = self.transformer(
            Located(Packed(queries, layout), self.rotary(places.tokens)),
            Located(Packed(patches, places.patch_layout), self.rotary(places.patches)),
            earlier,
        )
        return features.with_values(self.out(features.values)), memory

    def _queries(self, video: Tensor, grid: Tensor, picture: Picture, layout: Layout) -> Tensor:
        """Queries `(N, width)` from the blocks of a video, or from their grids `(B, blocks, h * w, width)`."""
        groups = groups_of(layout, video.device)
        blocks = grid if self.slopes is not None else video.unflatten(1, (-1, self.config.block_frames))
        queries, rows = [], []
        for length in dict.fromkeys(group.length for group in groups):
            alike = [group for group in groups if group.length == length]
            own = torch.cat([rows_of(blocks[:, group.block], group.clips) for group in alike])
            read = self._cells if self.slopes is None else self._pool_block
            queries.append(read(own, picture, length).flatten(0, 1))
            rows += [group.rows.flatten() for group in alike]
        return in_order(queries, rows)

    def _cells(self, frames: Tensor, picture: Picture, tokens: int) -> Tensor:
        """Queries `(B, tokens, width)` from frames `(B, f, 3, H, W)`: cells, brought to the size of a patch."""
        features: Tensor = self.patches.linear(picture.cells(frames, tokens))
        return features

    def _pool_block(self, features: Tensor, picture: Picture, tokens: int) -> Tensor:
        """Queries `(B, tokens, width)` from features `(B, h * w, width)` of a grid of patches (paper, section 3).

        Where cells are finer than patches, interpolation alone makes neighbours nearly equal, and so would be their
        tokens. A learned slope (ours), times the cell's place within its patch, tells them apart.
        """
        assert self.slopes is not None
        cells, grid = picture.token_grid(tokens), picture.grid
        pooled = torch.einsum("kn,bnd->bkd", like(features, pooling_matrix, cells, grid), features)
        offsets = like(features, patch_offsets, cells, grid)
        return pooled + torch.einsum("kc,bkcd->bkd", offsets, self.slopes(pooled).unflatten(-1, (2, -1)))
