"""Vector quantization, and what keeps a codebook in use (paper, section 3).

A codebook that starts at random collapses to a few codes. The cure has three parts: train without quantization first,
draw the codebook from the encoder's outputs then (`draw`), and redraw codes that nobody uses (`redraw_unused`).
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evatok.tokenizer.config import QuantizerConfig


@dataclass(frozen=True)
class Quantized:
    """Features `(N, dim)` as codes.

    Args:
        values: the codes `(N, dim)` float32, with the features' gradient passed straight through.
        ids: the codes' numbers `(N,)` int64.
        features: the features before quantization `(N, dim)` float32, brought to where codes lie: unit length for a
            codebook of unit vectors, a box for finite scalar quantization.
    """

    values: Tensor
    ids: Tensor
    features: Tensor


class VectorQuantizer(nn.Module):
    """Nearest of `codes` vectors, of unit length or not. Always computes in float32, whatever autocast says."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        self.codebook = nn.Parameter(torch.empty(config.codes, config.dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.codebook)

    def codes(self) -> Tensor:
        """The codes `(codes, dim)` float32, as unit vectors if they are such."""
        return self._placed(self.codebook.float())

    def nearest(self, features: Tensor) -> Tensor:
        """Numbers `(N,)` int64 of the codes nearest to features `(N, dim)` float32; the lowest of equal ones."""
        return self._nearness(features, self.codes()).argmax(1)

    def _nearness(self, features: Tensor, codes: Tensor) -> Tensor:
        """Minus half of the squared distances `(N, codes)`, but for what is alike for all codes."""
        # Contiguous: the gradient's product is then wide, not eight columns narrow, and ten times as fast on a CPU.
        products = features @ codes.T.contiguous()
        return products if self.config.unit else products - codes.square().sum(1) / 2

    def _placed(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=1) if self.config.unit else vectors

    def look_up(self, ids: Tensor) -> Tensor:
        """Vectors `(N, dim)` float32 of codes `(N,)`."""
        return F.embedding(ids, self.codes())

    def forward(self, features: Tensor) -> Quantized:
        """Quantizes features `(N, dim)`."""
        with torch.autocast(features.device.type, enabled=False):
            features = self._placed(features.float())
            ids = self.nearest(features.detach())
            values = features + (self.look_up(ids) - features).detach()
        return Quantized(values, ids, features)

    def losses(self, quantized: Quantized) -> dict[str, Tensor]:
        """Weighted losses: `codebook` (weight 1), `commitment` and `entropy`, each a mean over tokens."""
        with torch.autocast(quantized.features.device.type, enabled=False):
            codes = self.look_up(quantized.ids)
            features = quantized.features
            return {
                "codebook": (codes - features.detach()).square().sum(1).mean(),
                "commitment": self.config.commitment * (codes.detach() - features).square().sum(1).mean(),
                "entropy": self.config.entropy * self._entropy(features),
            }

    def _entropy(self, features: Tensor) -> Tensor:
        """Mean entropy of a token's soft assignment less the entropy of the mean assignment."""
        loss: Tensor = _Entropy.apply(2 / self.config.temperature * self._nearness(features, self.codes()))
        return loss

    @torch.no_grad()
    def draw(self, features: Tensor, generator: torch.Generator) -> None:
        """Draws the whole codebook from features `(N, dim)`."""
        self.codebook.copy_(_sample(features, len(self.codebook), generator))

    @torch.no_grad()
    def fit(self, features: Tensor, generator: torch.Generator, rounds: int = 15) -> None:
        """Draws the codebook from features `(N, dim)` and moves codes to the means of those nearest: k-means."""
        self.draw(features, generator)
        for _ in range(rounds):
            ids = self.nearest(features)
            counts = torch.bincount(ids, minlength=len(self.codebook))
            sums = torch.zeros_like(self.codebook).index_add_(0, ids, features)
            self.codebook.copy_(sums / counts.clamp(min=1)[:, None])
            self.redraw_unused(counts, features, generator)

    @torch.no_grad()
    def redraw_unused(self, counts: Tensor, features: Tensor, generator: torch.Generator) -> Tensor:
        """Draws codes with a count of 0 in `counts` `(codes,)` anew from features.

        Returns which ones, `(codes,)` bool.
        """
        unused = counts.to(self.codebook.device) == 0
        if unused.any():
            self.codebook[unused] = _sample(features, int(unused.sum()), generator).to(self.codebook)
        return unused


class _Entropy(torch.autograd.Function):
    """Mean entropy of the softmax of each row less the entropy of the mean softmax.

    With probabilities p of a row and m their mean over rows this is the mean over rows of sum p (log m - log p). Its
    derivative by p is log m - log p but for a constant, to which a softmax does not answer: one matrix serves both.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        logarithm = logits.log_softmax(1)
        probability = logarithm.exp()
        mean = probability.mean(0).clamp(min=1e-9).log()
        weighted = torch.sub(mean, logarithm, out=logarithm).mul_(probability)
        rows = weighted.sum(1, keepdim=True)
        ctx.save_for_backward(weighted.addcmul_(probability, rows, value=-1).div_(len(logits)))
        return rows.mean()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (by_logits,) = ctx.saved_tensors
        return gradient * by_logits


def _sample(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` rows of `features`, without repetition as far as they go, with a little noise to tell them apart."""
    rounds = -(-count // len(features))
    order = torch.cat([torch.randperm(len(features), generator=generator) for _ in range(rounds)])[:count]
    chosen = features[order.to(features.device)]
    noise = torch.randn(chosen.shape, generator=generator).to(chosen)
    return chosen + 0.01 * noise
