"""Finite scalar quantization: every channel is rounded to one of a few values (Mentzer et al. 2023, arXiv 2309.15505).

The codes are all combinations of these values: nothing is learned, so nothing can collapse or be drawn anew.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from evatok.nn.packed import Layout
from evatok.tokenizer.config import FSQConfig
from evatok.tokenizer.quantizer import Quantized

# Channels are bounded a little beyond their outermost values, which would otherwise be reached at infinity alone.
MARGIN = 1e-3


class FiniteScalarQuantizer(nn.Module):
    """Channels rounded to values in [-1, 1], 0 among them. Always computes in float32, whatever autocast says."""

    counts: Tensor
    strides: Tensor

    def __init__(self, config: FSQConfig) -> None:
        super().__init__()
        # On the CPU by name: they are no weights, so a model that is built without memory must have them all the same.
        counts = torch.tensor(config.fsq, device="cpu")
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("strides", counts.cumprod(0) // counts, persistent=False)

    def look_up(self, ids: Tensor) -> Tensor:
        """Values `(N, dim)` float32 of codes `(N,)`; the first channel changes fastest."""
        digits = ids[:, None] // self.strides % self.counts
        return (digits - self.counts // 2) / (self.counts // 2)

    def forward(self, features: Tensor, book: int = 0) -> Quantized:
        """Quantizes features `(N, dim)`; there is one book."""
        with torch.autocast(features.device.type, enabled=False):
            bounded, half = self._bound(features.float()), self.counts // 2
            digits = bounded.detach().round()
            values = (bounded + (digits - bounded).detach()) / half
        return Quantized(values, ((digits.long() + half) * self.strides).sum(1), bounded / half)

    def losses(self, quantized: Quantized, layout: Layout, rows: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """None: no code has to be pulled anywhere."""
        return {}

    def _bound(self, features: Tensor) -> Tensor:
        """Features in steps from the value 0: `count` steps wide, so an even count has one more below than above."""
        reach = (self.counts - 1) * (1 + MARGIN) / 2
        offset = (self.counts % 2 == 0) / 2
        return (features + (offset / reach).atanh()).tanh() * reach - offset
