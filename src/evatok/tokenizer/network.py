"""The tokenizer's network: encoder, quantizer and decoder on tensors, for training and for everything above."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evatok.nn.packed import Layout, Packed
from evatok.nn.transformer import LayerMemory
from evatok.tokenizer.config import FSQConfig, QuantizerConfig, TokenizerConfig
from evatok.tokenizer.decoder import Decoder
from evatok.tokenizer.encoder import Encoder
from evatok.tokenizer.finite_scalar import FiniteScalarQuantizer
from evatok.tokenizer.quantizer import Quantized, VectorQuantizer

Memory = tuple[LayerMemory, ...]


@dataclass(frozen=True)
class Reconstruction:
    """What a training step needs of a forward pass.

    Args:
        video: `(B, F, 3, H, W)` float32, about [-1, 1], not clamped.
        quantized: the tokens of all clips.
        layout: which clip and block each token belongs to.
        losses: the quantizer's weighted losses, empty where quantization was left out.
    """

    video: Tensor
    quantized: Quantized
    layout: Layout
    losses: dict[str, Tensor]


def build_quantizer(config: QuantizerConfig | FSQConfig) -> VectorQuantizer | FiniteScalarQuantizer:
    """The quantizer that a config describes."""
    match config:
        case QuantizerConfig():
            return VectorQuantizer(config)
        case FSQConfig():
            return FiniteScalarQuantizer(config)


class TokenizerNetwork(nn.Module):
    """Q-Former encoder, quantizer and Q-Former decoder (paper, section 3)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.quantizer = build_quantizer(config.quantizer)
        self.decoder = Decoder(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.patches.linear.weight.device

    def forward(self, video: Tensor, lengths: Tensor, quantize: bool = True) -> Reconstruction:
        """Encodes and decodes clips.

        Args:
            video: `(B, F, 3, H, W)` in [-1, 1]; F is a multiple of the block's frames, H and W of the patch.
            lengths: tokens of each block, `(B, T)` int64.
            quantize: False passes the features, brought to where codes lie, to the decoder: the start of a run.
        """
        layout = Layout(tuple(map(tuple, lengths.tolist())))
        features, _ = self.encoder(video, layout)
        quantized = self.quantizer(features.values)
        size = (video.shape[-2], video.shape[-1])
        tokens = features.with_values(quantized.values if quantize else quantized.features)
        decoded, _ = self.decoder(tokens, size)
        losses = self.quantizer.losses(quantized) if quantize else {}
        return Reconstruction(decoded, quantized, layout, losses)

    def encode_blocks(self, video: Tensor, layout: Layout, earlier: Memory | None = None) -> tuple[Tensor, Memory]:
        """Ids `(N,)` int64 of the tokens of a layout's blocks; `earlier` and its successor as in `Encoder`."""
        features, memory = self.encoder(video, layout, earlier)
        return self.quantizer(features.values).ids, memory

    def decode_blocks(
        self, ids: Tensor, layout: Layout, size: tuple[int, int], earlier: Memory | None = None
    ) -> tuple[Tensor, Memory]:
        """Video `(B, F, 3, H, W)` float32, not clamped, of ids `(N,)`; `earlier` and its successor as in `Decoder`."""
        return self.decoder(Packed(self.quantizer.look_up(ids), layout), size, earlier)
