"""The proxy reward of an assignment: its quality less its length, both standardised (paper, section 3)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ProxyReward:
    """`w_q · Q − w_l · L` with `Q = −(LPIPS − lpips_mean) / lpips_std` and `L = (tokens − tokens_mean) / tokens_std`.

    `w_l` is `2 − w_q`. The formula as printed in the paper lacks the minus sign of Q; quality rises as LPIPS falls.

    Args:
        lpips_mean: mean LPIPS over clips and assignments.
        lpips_std: standard deviation of the same.
        tokens_mean: mean tokens of a clip over assignments.
        tokens_std: standard deviation of the same.
    """

    lpips_mean: float
    lpips_std: float
    tokens_mean: float
    tokens_std: float

    def __post_init__(self) -> None:
        for name in ("lpips_std", "tokens_std"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @classmethod
    def fit(cls, lpips: Tensor, tokens: Tensor) -> "ProxyReward":
        """Means and deviations of a table.

        Args:
            lpips: of every clip under every assignment, `(clips, assignments)`.
            tokens: of every assignment, `(assignments,)`.

        Raises:
            ValueError: the table has a value that is not finite, or nothing in it differs.
        """
        if not torch.isfinite(lpips).all():
            raise ValueError("the table of LPIPS holds values that are not finite")
        values, lengths = lpips.double(), tokens.double()
        return cls(
            values.mean().item(),
            values.std(correction=0).item(),
            lengths.mean().item(),
            lengths.std(correction=0).item(),
        )

    def standardised(self, lpips: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Q `(clips, assignments)` and L `(assignments,)`, in the precision of what is given."""
        return -(lpips - self.lpips_mean) / self.lpips_std, (tokens - self.tokens_mean) / self.tokens_std

    def __call__(self, lpips: Tensor, tokens: Tensor, w_q: float) -> Tensor:
        """Rewards `(clips, assignments)` float64; ValueError unless `w_q` is from 0 to 2."""
        if not 0 <= w_q <= 2:
            raise ValueError(f"w_q must be from 0 to 2, got {w_q}")
        quality, length = self.standardised(lpips.double(), tokens.double())
        return w_q * quality - (2 - w_q) * length

    def price(self, w_q: float) -> float:
        """What a token costs in LPIPS: the reward picks what has the least LPIPS + price · tokens.

        Raises:
            ValueError: quality has no weight, so that no price is high enough, or more than there is.
        """
        if not 0 < w_q <= 2:
            raise ValueError(f"w_q must be above 0 (fewest tokens) and at most 2 (best quality), got {w_q}")
        return (2 - w_q) / w_q * self.lpips_std / self.tokens_std
