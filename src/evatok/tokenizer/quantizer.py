"""Vector quantization, and what keeps a codebook in use (paper, section 3).

A codebook that starts at random collapses to a few codes. The cure has three parts: train without quantization first,
draw the codebook from the encoder's outputs then (`draw`), and redraw codes that nobody uses (`redraw_unused`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evatok.nn.packed import Layout, shares_of
from evatok.tokenizer.config import QuantizerConfig
from evatok.utils.ranks import mean_over_ranks

_AT_ONCE = 2**24  # numbers in a matrix of features by codes, of which a few live together


@dataclass(frozen=True)
class Quantized:
    """Features `(N, dim)` as codes.

    Args:
        values: the codes `(N, dim)` float32, with the features' gradient passed straight through.
        ids: the codes' numbers `(N,)` int64, counted through all codebooks.
        features: the features before quantization `(N, dim)` float32, brought to where codes lie: unit length for a
            codebook of unit vectors, a box for finite scalar quantization.
    """

    values: Tensor
    ids: Tensor
    features: Tensor


class VectorQuantizer(nn.Module):
    """Nearest of a codebook's vectors, of unit length or not. Always computes in float32, whatever autocast says.

    Args:
        config: what a codebook is.
        books: number of codebooks, whose codes follow each other in `codebook`.
    """

    def __init__(self, config: QuantizerConfig, books: int = 1) -> None:
        super().__init__()
        self.config = config
        self.books = books
        self.codebook = nn.Parameter(torch.empty(books * config.codebook_size, config.dim))
        nn.init.normal_(self.codebook)

    def codes(self) -> Tensor:
        """The codes of all codebooks `(codes, dim)` float32, as unit vectors if they are such."""
        return self._placed(self.codebook.float())

    def nearest(self, features: Tensor, book: int = 0) -> Tensor:
        """Numbers `(N,)` int64 of a book's codes nearest to features `(N, dim)` float32; the lowest of equal ones."""
        codes, size = self.codes(), self.config.codebook_size
        own = codes[book * size : (book + 1) * size]
        return book * size + torch.cat([_nearness(part, own).argmax(1) for part in _parts(features, size)])

    def _placed(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=1) if self.config.unit else vectors

    def look_up(self, ids: Tensor) -> Tensor:
        """Vectors `(N, dim)` float32 of codes `(N,)`."""
        return F.embedding(ids, self.codes())

    def forward(self, features: Tensor, book: int = 0) -> Quantized:
        """Quantizes features `(N, dim)` by the codes of a book."""
        with torch.autocast(features.device.type, enabled=False):
            features = self._placed(features.float())
            ids = self.nearest(features.detach(), book)
            values = features + (self.look_up(ids) - features).detach()
        return Quantized(values, ids, features)

    def losses(self, quantized: Quantized, layout: Layout, rows: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """Weighted losses: `codebook` (weight 1), `commitment` and `entropy`.

        Each is a mean over clips of means over a clip's tokens, so that a short clip counts as much as a long one.
        `entropy` is left out where its weight is 0; the mean whose entropy is wanted high is that of a book's tokens in
        all processes.

        Args:
            quantized: the tokens of clips.
            layout: which clip each token belongs to.
            rows: which tokens each codebook has, `(n,)` int64; None where there is one, which has all.
        """
        config, features = self.config, quantized.features
        with torch.autocast(features.device.type, enabled=False):
            codes = self.look_up(quantized.ids)
            shares = shares_of(layout, features.device)
            losses = {
                "codebook": (codes - features.detach()).square().sum(1) @ shares,
                "commitment": config.commitment * ((codes.detach() - features).square().sum(1) @ shares),
            }
            if config.entropy:
                rows = [torch.arange(len(features), device=features.device)] if rows is None else rows
                entropy = _Entropy.apply(features, self.codes(), shares, config.temperature, rows)
                losses["entropy"] = config.entropy * entropy
        return losses

    @torch.no_grad()
    def draw(self, features: Tensor, generator: torch.Generator, book: int = 0) -> None:
        """Draws all codes of a book from features `(N, dim)`."""
        size = self.config.codebook_size
        self.codebook[book * size : (book + 1) * size] = _sample(features, size, generator).to(self.codebook)

    @torch.no_grad()
    def fit(self, features: Tensor, generator: torch.Generator, book: int = 0, rounds: int = 15) -> None:
        """Draws a book's codes from features `(N, dim)` and moves them to the means of those nearest: k-means."""
        size = self.config.codebook_size
        self.draw(features, generator, book)
        own = self.codebook[book * size : (book + 1) * size]
        for _ in range(rounds):
            ids = self.nearest(features, book) - book * size
            counts = torch.bincount(ids, minlength=size)
            own.copy_(torch.zeros_like(own).index_add_(0, ids, features) / counts.clamp(min=1)[:, None])
            self.redraw_unused(counts, features, generator, book)

    @torch.no_grad()
    def redraw_unused(self, counts: Tensor, features: Tensor, generator: torch.Generator, book: int = 0) -> Tensor:
        """Draws codes of a book with a count of 0 in `counts` `(codebook_size,)` anew from features.

        Returns which ones, `(codebook_size,)` bool.
        """
        size, unused = self.config.codebook_size, counts.to(self.codebook.device) == 0
        if unused.any():
            own = self.codebook[book * size : (book + 1) * size]
            own[unused] = _sample(features, int(unused.sum()), generator).to(own)
        return unused


def _parts(features: Tensor, codes: int) -> tuple[Tensor, ...]:
    """Features `(N, dim)` in parts whose matrices by codes fit in memory, about equal: no product has few rows."""
    return features.tensor_split(-(-len(features) * codes // _AT_ONCE) or 1)


def _nearness(features: Tensor, codes: Tensor) -> Tensor:
    """Minus half of the squared distances `(N, codes)`, but for what is alike for all codes of a feature."""
    # Contiguous: the product is then wide, not eight columns narrow, and faster on a CPU.
    return features @ codes.T.contiguous() - codes.square().sum(1) / 2


class _Entropy(torch.autograd.Function):
    """Mean entropy of tokens' soft assignments to codes less the entropy of the mean assignment within a book.

    With assignments p of a token and their mean m this is the mean of sum p (log m - log p). Its derivative by p is
    log m - log p but for a constant, to which a softmax does not answer. So the gradients are known in the forward
    pass, part by part, and no matrix of tokens by codes is kept.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, codes: Tensor, shares: Tensor, temperature: float, rows: Sequence[Tensor]
    ) -> Tensor:
        scale, books = 2 / temperature, codes.tensor_split(len(rows))
        parts = [(book, part) for book, own in enumerate(rows) for part in _parts(own, len(books[0])) if len(part)]
        sums, weights = codes.new_zeros(len(books), len(books[0])), codes.new_zeros(len(books), 1)
        for book, part in parts:
            sums[book] += shares[part] @ (scale * _nearness(features[part], books[book])).softmax(1)
            weights[book] += shares[part].sum()
        sums, weights = mean_over_ranks(torch.cat((sums, weights), 1)).tensor_split([-1], 1)
        log_mean = (sums / weights.clamp(min=1e-9)).clamp(min=1e-9).log()
        loss, by_features, by_codes = codes.new_zeros(()), torch.zeros_like(features), torch.zeros_like(codes)
        for book, part in parts:
            logarithm = (scale * _nearness(features[part], books[book])).log_softmax(1)
            probability = logarithm.exp()
            weighted = torch.sub(log_mean[book], logarithm, out=logarithm).mul_(probability)
            sizes = weighted.sum(1)
            loss += sizes @ shares[part]
            by_logits = weighted.addcmul_(probability, sizes[:, None], value=-1).mul_(scale * shares[part, None])
            by_features[part] = by_logits @ books[book]
            own = by_codes.tensor_split(len(rows))[book]
            own += by_logits.T @ features[part] - by_logits.sum(0)[:, None] * books[book]
        ctx.save_for_backward(by_features, by_codes)
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        by_features, by_codes = ctx.saved_tensors
        return gradient * by_features, gradient * by_codes, None, None, None


def _sample(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` rows of `features`, without repetition as far as they go, with a little noise to tell them apart."""
    rounds = -(-count // len(features))
    order = torch.cat([torch.randperm(len(features), generator=generator) for _ in range(rounds)])[:count]
    chosen = features[order.to(features.device)]
    noise = torch.randn(chosen.shape, generator=generator).to(chosen)
    return chosen + 0.01 * noise
