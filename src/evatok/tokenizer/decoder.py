"""The Q-Former decoder: quantized 1D tokens in, frames out (paper, section 3)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from evatok.nn.overlap import Margins, Surroundings
from evatok.nn.packed import Layout, Packed, on_device
from evatok.nn.patches import Patches, join_patches
from evatok.nn.positions import PositionEmbedding, Rotary
from evatok.nn.transformer import LayerMemory, Located, Transformer
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.picture import Picture, places_of
from evatok.tokenizer.sketch import Drawing


class Frames(nn.Module):
    """Features of patches to pixels: one linear layer and a reshape, and margins where patches overlap."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.patch = config.patch
        frames, height, width = config.patch
        self.linear = nn.Linear(config.decoder.width, 3 * frames * height * width)
        self.margins = Margins(config.patch, config.decoder.width, config.overlap) if config.overlap else None

    def forward(self, features: Tensor, grid: tuple[int, int]) -> Tensor:
        """Features `(B, blocks, h * w, width)` to video `(B, F, 3, H, W)`, about [-1, 1] but not clamped."""
        video = join_patches(self.linear(features), self.patch, grid)
        return video if self.margins is None else video + self.margins(features, grid)


class Decoder(nn.Module):
    """3D queries read the tokens of blocks up to their own.

    They start from their block's first token (paper, section 3), or from their own patch of the sketch, which is then
    what the features are added to.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        width = config.decoder.width
        self.config = config
        self.tokens = nn.Linear(config.quantizer.dim, width)
        self.token_position = PositionEmbedding(width, True, len(config.sketch.passes) if config.sketch else 1)
        self.query_position = PositionEmbedding(width, with_level=False)
        self.rotary = Rotary(width // config.decoder.heads)
        self.transformer = Transformer(config.decoder)
        self.frames = Frames(config)
        self.patches = self.surroundings = None
        if config.sketch is not None:
            frames, *sides = config.patch
            # The frame before, and the frames of the block.
            patch = 1 + frames, sides[0], sides[1]
            self.patches = Patches(patch, width, whitened=True)
            if config.overlap:
                self.surroundings = Surroundings(patch, width, config.overlap)
            nn.init.zeros_(self.frames.linear.weight)
            nn.init.zeros_(self.frames.linear.bias)

    def forward(
        self,
        tokens: Packed,
        size: tuple[int, int],
        drawing: Drawing | None = None,
        earlier: tuple[LayerMemory, ...] | None = None,
        watch: Callable[[int, Tensor], None] | None = None,
    ) -> tuple[Tensor, tuple[LayerMemory, ...]]:
        """Frames of the tokens' blocks.

        Args:
            tokens: quantized tokens `(N, quantizer.dim)`; all clips must have the same number of blocks.
            size: height and width of the frames in pixels, multiples of the patch.
            drawing: the tokens' sketch, where the config has one.
            earlier: what a call on the blocks before these returned.
            watch: is shown the number of each layer, from 1 on, and the features `(patches, width)` after it.

        Returns:
            Video `(B, F, 3, H, W)`, not clamped, and the memory for the blocks that follow.
        """
        picture, layout = Picture.of(size, self.config), tokens.layout
        places = places_of(picture, layout, tokens.values.device)
        embedded = self.tokens(tokens.values.to(self.tokens.weight.dtype))
        references = embedded + self.token_position(places.tokens, places.levels, places.passes)
        queries = self._start(embedded, layout, picture, drawing) + self.query_position(places.patches)
        features, memory = self.transformer(
            Located(Packed(queries, places.patch_layout), self.rotary(places.patches)),
            Located(Packed(references, layout), self.rotary(places.tokens)),
            earlier,
            watch,
        )
        cut = features.values.unflatten(0, (len(layout.lengths), len(layout.lengths[0]), -1))
        video = self.frames(cut, picture.grid).to(torch.promote_types(cut.dtype, torch.float32))
        return video if drawing is None else drawing.video + video, memory

    def _start(self, tokens: Tensor, layout: Layout, picture: Picture, drawing: Drawing | None) -> Tensor:
        """What queries start from, `(patches of all clips and blocks, width)`."""
        if self.patches is not None:
            assert drawing is not None
            seen = torch.cat((drawing.before[:, :, None], drawing.frames), 2).flatten(1, 2)
            seen = seen.to(self.tokens.weight.dtype)
            features: Tensor = self.patches(seen)
            if self.surroundings is not None:
                features = features + self.surroundings(seen)
            return features.flatten(0, 2)
        first = tokens.index_select(0, on_device(layout.first_of_block, tokens.device))
        return first[:, None].expand(-1, picture.grid[0] * picture.grid[1], -1).flatten(0, 1)
