"""The tokenizer's network: encoder, quantizer and decoder on tensors, for training and for everything above."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from evatok.nn.packed import Layout, Packed, on_device
from evatok.nn.transformer import LayerMemory, pick_layers
from evatok.tokenizer.config import FSQConfig, QuantizerConfig, TokenizerConfig
from evatok.tokenizer.decoder import Decoder
from evatok.tokenizer.encoder import Encoder
from evatok.tokenizer.finite_scalar import FiniteScalarQuantizer
from evatok.tokenizer.picture import Picture, places_of
from evatok.tokenizer.quantizer import Quantized, VectorQuantizer
from evatok.tokenizer.sketch import Drawing, Sketch


@dataclass(frozen=True)
class Memory:
    """What the blocks that follow need of those before: what each layer has seen, and the sketch's last frame."""

    layers: tuple[LayerMemory, ...]
    last: Tensor | None


def pick_memory(parts: Sequence[Memory], places: Sequence[tuple[int, int]]) -> Memory:
    """The memory of clips out of several parts: `places` are (part, clip) of each, in the new order."""
    frames = [part.last for part in parts if part.last is not None]
    last = torch.stack([frames[number][clip] for number, clip in places]) if frames else None
    return Memory(pick_layers([part.layers for part in parts], places), last)


@dataclass(frozen=True)
class Reconstruction:
    """What a training step needs of a forward pass.

    Args:
        video: `(B, F, 3, H, W)` float32, about [-1, 1], not clamped.
        quantized: the tokens of all clips.
        layout: which clip and block each token belongs to.
        losses: the quantizer's weighted losses, empty where quantization was left out.
        sketch: what the codes draw by themselves, like `video`; None where the config has no sketch.
        features: `(B, blocks, h, w, width)` after the layer of the decoder that was asked for; None if none was.
    """

    video: Tensor
    quantized: Quantized
    layout: Layout
    losses: dict[str, Tensor]
    sketch: Tensor | None = None
    features: Tensor | None = None


def build_quantizer(config: TokenizerConfig) -> VectorQuantizer | FiniteScalarQuantizer:
    """The quantizer that a tokenizer's config describes."""
    match config.quantizer:
        case QuantizerConfig():
            return VectorQuantizer(config.quantizer, config.codebooks)
        case FSQConfig():
            return FiniteScalarQuantizer(config.quantizer)


class TokenizerNetwork(nn.Module):
    """Q-Former encoder, quantizer and Q-Former decoder (paper, section 3)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.sketch = None if config.sketch is None else Sketch(config)
        self.quantizer = build_quantizer(config)
        self.decoder = Decoder(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, video: Tensor, layout: Layout, quantize: bool = True, layer: int | None = None) -> Reconstruction:
        """Encodes and decodes clips: the training pass.

        Args:
            video: `(B, F, 3, H, W)` in [-1, 1]; F is a multiple of the block's frames, H and W of the patch.
            layout: tokens of each block of each clip, such as `Layout.of([[64, 32, 32, 32]] * B)`.
            quantize: False passes the features, brought to where codes lie, to the decoder: the start of a run.
            layer: of the decoder, from 1 on, whose features are wanted too.

        Raises:
            TypeError: the layout is none.
            ValueError: it is one of other clips or blocks, or the decoder has no such layer.
        """
        self._check(video, layout, layer)
        features, _ = self.encoder(video, layout)
        quantized, drawing = self._quantize(video, features, quantize)
        size = (video.shape[-2], video.shape[-1])
        seen: dict[int, Tensor] = {}
        watch = None if layer is None else seen.__setitem__
        decoded, _ = self.decoder(features.with_values(quantized.values), size, drawing, watch=watch)
        losses = {}
        if quantize:
            losses = self.quantizer.losses(quantized, layout, rows_of_books(self.config, layout, size, video.device))
        sketch = None if drawing is None else drawing.video
        watched = None
        if layer is not None:
            watched = seen[layer].unflatten(0, (len(video), -1, *Picture.of(size, self.config).grid))
        return Reconstruction(decoded, quantized, layout, losses, sketch, watched)

    def _check(self, video: Tensor, layout: Layout, layer: int | None) -> None:
        if not isinstance(layout, Layout):
            raise TypeError(
                f"layout must be a Layout, such as Layout.of(lists of lengths), got {type(layout).__name__}"
            )
        blocks = video.shape[1] / self.config.block_frames
        if len(layout.lengths) != len(video) or any(len(lengths) != blocks for lengths in layout.lengths):
            found = [len(lengths) for lengths in layout.lengths]
            raise ValueError(f"video has {len(video)} clips of {blocks:g} blocks, its layout clips of {found} blocks")
        if layer is not None and not 1 <= layer <= self.config.decoder.depth:
            raise ValueError(f"layer must be among the decoder's 1 to {self.config.decoder.depth}, got {layer}")

    def _quantize(
        self, video: Tensor, features: Packed, quantize: bool = True, last: Tensor | None = None
    ) -> tuple[Quantized, Drawing | None]:
        """Features `(N, dim)` of a video's tokens as codes, or as they are, and the sketch, if there is one."""

        def code(values: Tensor, kind: int) -> Quantized:
            quantized: Quantized = self.quantizer(values, self.config.book(kind))
            return quantized if quantize else replace(quantized, values=quantized.features)

        if self.sketch is None:
            return code(features.values, 0), None
        return self.sketch.encode(video, features, code, last)

    def _first_codes(self, layout: Layout, size: tuple[int, int]) -> Tensor:
        """Number of the first code of each token's codebook, `(N,)` int64."""
        return on_device(self.config.quantizer.codebook_size * books_of(self.config, layout, size), self.device)

    def encode_blocks(self, video: Tensor, layout: Layout, earlier: Memory | None = None) -> tuple[Tensor, Memory]:
        """Ids `(N,)` int64 of the tokens of a layout's blocks; `earlier` is what a call on those before returned."""
        features, layers = self.encoder(video, layout, earlier.layers if earlier else None)
        quantized, drawing = self._quantize(video, features, last=earlier.last if earlier else None)
        first = self._first_codes(layout, (video.shape[-2], video.shape[-1]))
        return quantized.ids - first, Memory(layers, None if drawing is None else drawing.last)

    def decode_blocks(
        self, ids: Tensor, layout: Layout, size: tuple[int, int], earlier: Memory | None = None
    ) -> tuple[Tensor, Memory]:
        """Video `(B, F, 3, H, W)` float32, not clamped, of ids `(N,)`; `earlier` as in `encode_blocks`."""
        codes = self.quantizer.look_up(ids + self._first_codes(layout, size))
        tokens, drawing = Packed(codes, layout), None
        if self.sketch is not None:
            drawing = self.sketch.draw(tokens, size, earlier.last if earlier else None)
        video, layers = self.decoder(tokens, size, drawing, earlier.layers if earlier else None)
        return video, Memory(layers, None if drawing is None else drawing.last)


def books_of(config: TokenizerConfig, layout: Layout, size: tuple[int, int]) -> Tensor:
    """Each token's codebook, `(N,)` int64 on the CPU, for pictures of a size."""
    passes = places_of(Picture.of(size, config), layout, torch.device("cpu")).passes
    return config.book(config.sketch.kind(layout.block, passes) if config.sketch else passes)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # training uses those that were made before it
def rows_of_books(
    config: TokenizerConfig, layout: Layout, size: tuple[int, int], device: torch.device
) -> tuple[Tensor, ...]:
    """Which tokens each codebook has, int64 on a device."""
    books = books_of(config, layout, size)
    return tuple(on_device((books == book).nonzero()[:, 0], device) for book in range(config.codebooks))
