"""Vector quantization, and what keeps a codebook in use (paper, section 3).

A codebook that starts at random collapses to a few codes. The cure has three parts: train without quantization first,
draw the codebook from the encoder's outputs then (`draw`), and redraw codes that nobody uses (`redraw_unused`).
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evatok.nn.packed import Layout, on_device
from evatok.tokenizer.config import QuantizerConfig
from evatok.utils.ranks import mean_over_ranks

_AT_ONCE = 2**24  # numbers in a matrix of features by codes, of which a few live together


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
        self.codebook = nn.Parameter(torch.empty(config.codebook_size, config.dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.codebook)

    def codes(self) -> Tensor:
        """The codes `(codes, dim)` float32, as unit vectors if they are such."""
        return self._placed(self.codebook.float())

    def nearest(self, features: Tensor) -> Tensor:
        """Numbers `(N,)` int64 of the codes nearest to features `(N, dim)` float32; the lowest of equal ones."""
        codes = self.codes()
        return torch.cat([_nearness(part, codes).argmax(1) for part in _parts(features, len(codes))])

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

    def losses(self, quantized: Quantized, layout: Layout) -> dict[str, Tensor]:
        """Weighted losses: `codebook` (weight 1), `commitment` and `entropy`.

        Each is a mean over clips of means over a clip's tokens, so that a short clip counts as much as a long one;
        `layout` says which clip each token belongs to. `entropy` is left out where its weight is 0; the mean whose
        entropy is wanted high is that of all processes.
        """
        config, features = self.config, quantized.features
        with torch.autocast(features.device.type, enabled=False):
            codes = self.look_up(quantized.ids)
            shares = on_device(layout.shares, features.device)
            losses = {
                "codebook": (codes - features.detach()).square().sum(1) @ shares,
                "commitment": config.commitment * ((codes.detach() - features).square().sum(1) @ shares),
            }
            if config.entropy:
                entropy = _Entropy.apply(features, self.codes(), shares, config.temperature)
                losses["entropy"] = config.entropy * entropy
        return losses

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


def _parts(features: Tensor, codes: int) -> tuple[Tensor, ...]:
    """Features `(N, dim)` in parts whose matrices by codes fit in memory, about equal: no product has few rows."""
    return features.tensor_split(-(-len(features) * codes // _AT_ONCE) or 1)


def _nearness(features: Tensor, codes: Tensor) -> Tensor:
    """Minus half of the squared distances `(N, codes)`, but for what is alike for all codes of a feature."""
    # Contiguous: the product is then wide, not eight columns narrow, and faster on a CPU.
    return features @ codes.T.contiguous() - codes.square().sum(1) / 2


class _Entropy(torch.autograd.Function):
    """Mean entropy of tokens' soft assignments to codes less the entropy of the mean assignment.

    With assignments p of a token and their mean m this is the mean of sum p (log m - log p). Its derivative by p is
    log m - log p but for a constant, to which a softmax does not answer. So the gradients are known in the forward
    pass, part by part, and no matrix of tokens by codes is kept.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, codes: Tensor, shares: Tensor, temperature: float) -> Tensor:
        scale, parts = 2 / temperature, _parts(features, len(codes))
        by_part = list(zip(parts, shares.tensor_split(len(parts)), strict=True))
        mean = sum(
            (share @ (scale * _nearness(part, codes)).softmax(1) for part, share in by_part), codes.new_zeros(())
        )
        log_mean = mean_over_ranks(mean).clamp(min=1e-9).log()
        loss, by_codes, by_features = codes.new_zeros(()), torch.zeros_like(codes), []
        for part, share in by_part:
            logarithm = (scale * _nearness(part, codes)).log_softmax(1)
            probability = logarithm.exp()
            weighted = torch.sub(log_mean, logarithm, out=logarithm).mul_(probability)
            rows = weighted.sum(1)
            loss += rows @ share
            by_logits = weighted.addcmul_(probability, rows[:, None], value=-1).mul_(scale * share[:, None])
            by_features.append(by_logits @ codes)
            by_codes += by_logits.T @ part - by_logits.sum(0)[:, None] * codes
        ctx.save_for_backward(torch.cat(by_features), by_codes)
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_features, by_codes = ctx.saved_tensors
        return gradient * by_features, gradient * by_codes, None, None


def _sample(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` rows of `features`, without repetition as far as they go, with a little noise to tell them apart."""
    rounds = -(-count // len(features))
    order = torch.cat([torch.randperm(len(features), generator=generator) for _ in range(rounds)])[:count]
    chosen = features[order.to(features.device)]
    noise = torch.randn(chosen.shape, generator=generator).to(chosen)
    return chosen + 0.01 * noise
