"""How the next tokens are drawn from logits: guidance, temperature, top-k and top-p, always after the grammar."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evatok.utils.configs import check_least

_SMALLEST_TEMPERATURE = 1e-20


@dataclass(frozen=True)
class Drawing:
    """How tokens are drawn.

    Args:
        guidance: 1 for the model as it is; above it, classes count for more: what they change in the logits without a
            class is multiplied by it (classifier-free guidance), at twice the work.
        temperature: that logits are divided by; 0 takes the likeliest token.
        top_k: only so many of the likeliest tokens are drawn; 0 for all.
        top_p: only the likeliest tokens whose probabilities come to this are drawn.
        most_tokens: that a clip may have at most; None for no budget.
        length_bias: added to the logit of the longest level's token, and to other levels' by their share of it: above
            0 for more tokens than the model would write, below 0 for fewer.

    Raises:
        ValueError: for values out of range.
    """

    guidance: float = 1.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    most_tokens: int | None = None
    length_bias: float = 0.0

    def __post_init__(self) -> None:
        for name in ("guidance", "temperature", "length_bias"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")
        check_least(self, 0, "guidance", "temperature", "top_k")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    def guided(self, logits: Tensor) -> Tensor:
        """Float32 logits `(n, V)`; with guidance of pairs `(2 n, V)`, each with its class and then without one."""
        logits = logits.float()
        if self.guidance != 1:
            given, none = logits.unflatten(0, (-1, 2)).unbind(1)
            logits = none + self.guidance * (given - none)
        return logits

    def draw(self, logits: Tensor, allowed: Tensor, chances: Tensor) -> Tensor:
        """Tokens, int64 `(n,)`: none but allowed ones, whatever the logits are.

        Args:
            logits: `(n, V)`.
            allowed: bool `(n, V)`, at least one in each row.
            chances: float64 `(n,)` in [0, 1): where each row's token lies among all that it could be, side by side.
        """
        scores = logits.nan_to_num().masked_fill(~allowed, -torch.inf)
        scores = (scores - scores.amax(1, keepdim=True)) / max(self.temperature, _SMALLEST_TEMPERATURE)
        if 0 < self.top_k < scores.shape[1]:
            scores = scores.masked_fill(scores < scores.topk(self.top_k).values[:, -1:], -torch.inf)
        shares = scores.softmax(1).double()
        if self.top_p < 1:
            ordered, order = shares.sort(dim=1, descending=True, stable=True)
            beyond = ordered.cumsum(1) - ordered >= self.top_p
            shares = shares.scatter(1, order, ordered.masked_fill(beyond, 0))
        possible = shares > 0
        # Sums may round such that one grows where a share is 0: those do not count.
        ends = shares.cumsum(1).masked_fill(~possible, 0)
        return ((ends > chances[:, None] * ends.amax(1, keepdim=True)) & possible).int().argmax(1)
