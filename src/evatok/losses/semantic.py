"""A discriminator that sees with a frozen network's eyes: small trainable heads on several layers' features.

The form is that of the paper's section 3 (after StyleGAN-T): a layer's features as one sequence, 1D convolutions over
it, a logit for each position.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evatok.pretrained.encoders import EncoderConfig, load_encoder
from evatok.pretrained.video_encoder import VideoEncoder
from evatok.utils.configs import check_between


@dataclass(frozen=True)
class SemanticDiscriminatorConfig:
    """A frozen network and the heads on it.

    Args:
        encoder: the frozen network.
        layers: its layers that have a head, from 1 on; empty: the encoder's `default_layers`.
        hidden: channels of a head.
        kernel: positions that a head's convolution sees, an odd number.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    layers: tuple[int, ...] = ()
    hidden: int = 64
    kernel: int = 9

    def __post_init__(self) -> None:
        check_between(self, 1, 4096, "hidden")
        check_between(self, 1, 65, "kernel")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        if len(set(self.layers)) < len(self.layers):
            raise ValueError(f"layers must be different ones, got {self.layers}")


class SemanticDiscriminator(nn.Module):
    """Tells clips from reconstructions by what a frozen network finds in them.

    Only the heads are its weights: the network is no submodule, so no optimiser, average or checkpoint has it. It is
    moved along, stays in float32, and is shared by copies.
    """

    def __init__(self, config: SemanticDiscriminatorConfig) -> None:
        super().__init__()
        encoder = load_encoder(config.encoder)
        encoder.check_layers(config.layers)
        self.layers = config.layers or encoder.default_layers
        self.heads = nn.ModuleList(Head(encoder.widths[layer - 1], config) for layer in self.layers)
        self._encoders = (encoder,)

    @property
    def encoder(self) -> VideoEncoder:
        """The frozen network."""
        return self._encoders[0]

    def forward(self, video: Tensor) -> Tensor:
        """Logits `(B, N)` float32 of clips `(B, F, 3, H, W)` in [-1, 1]: of all positions of all layers."""
        features = self.encoder.features(video, self.layers)
        return torch.cat([head(seen.flatten(1, 3)) for head, seen in zip(self.heads, features, strict=True)], 1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `cuda` and the like come to."""
        super()._apply(fn, recurse)
        self.encoder.to(next(self.parameters()).device)
        return self


class Head(nn.Module):
    """A sequence of features to a logit for each position; clips do not see each other."""

    def __init__(self, width: int, config: SemanticDiscriminatorConfig) -> None:
        super().__init__()
        # Layers differ in size by orders of magnitude, and so do a transformer's channels.
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Conv1d(width, config.hidden, 1)
        self.mix = nn.Conv1d(config.hidden, config.hidden, config.kernel, padding=config.kernel // 2)
        self.leave = nn.Conv1d(config.hidden, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Features `(B, positions, width)` to logits `(B, positions)` float32."""
        x = F.leaky_relu(self.enter(self.norm(features).transpose(1, 2)), 0.2)
        x = x + F.leaky_relu(self.mix(x), 0.2)
        logits: Tensor = self.leave(x)[:, 0].float()
        return logits
