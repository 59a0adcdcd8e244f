"""What preferences and budgets mean to a predictor: the reward's statistics, and the price that a budget comes to.

A price is found once, on a set of clips, and stored. So a clip's assignment never depends on its neighbours: a budget
is kept on average over clips like those, not by every set of clips.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from evatok.allocation.reward import ProxyReward
from evatok.allocation.rules import Price
from evatok.assignment import AssignmentSpace

# Prices in units of the reward's own, from nearly none to far above any gain.
_PRICES = torch.logspace(-4, 2.5, 105, dtype=torch.float64).tolist()


@dataclass(frozen=True)
class Calibration:
    """How a predictor's tables are to be priced.

    Args:
        reward: the proxy reward, fitted on the training clips.
        w_q: the preference where nothing else is asked for.
        prices: of a token in LPIPS, rising.
        tokens: mean tokens of a clip that the calibration clips take at these prices, falling.
    """

    reward: ProxyReward
    w_q: float = 1.2
    prices: tuple[float, ...] = ()
    tokens: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("prices", "tokens"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.prices) != len(self.tokens):
            raise ValueError(f"there are {len(self.prices)} prices and {len(self.tokens)} numbers of tokens")
        if any(a >= b for a, b in pairwise(self.prices)) or any(a < b for a, b in pairwise(self.tokens)):
            raise ValueError("prices must rise and tokens fall")
        if not 0 < self.w_q <= 2:
            raise ValueError(f"w_q must be above 0 and at most 2, got {self.w_q}")

    @classmethod
    def fit(cls, table: Tensor, space: AssignmentSpace, reward: ProxyReward, w_q: float = 1.2) -> "Calibration":
        """Prices for clips whose predicted tables `(clips, len(space))` these are."""
        unit = reward.lpips_std / reward.tokens_std
        prices = [0.0, *(unit * price for price in _PRICES)]
        tokens = [space.costs[Price(price).pick(table, space)].double().mean().item() for price in prices]
        return cls(reward, w_q, tuple(prices), tuple(tokens))

    def price(self, w_q: float | None = None) -> float:
        """What a token costs in LPIPS at a preference; ValueError for one that is not above 0 and at most 2."""
        w_q = self.w_q if w_q is None else w_q
        if not 0 < w_q <= 2:
            raise ValueError(f"w_q must be above 0 (fewest tokens) and at most 2 (best quality), got {w_q}")
        return self.reward.price(w_q)

    def price_for(self, tokens: float) -> float:
        """The price at which clips like the calibration clips take `tokens` tokens each, on average.

        ValueError below the fewest that any assignment has, or if there is nothing to tell it from.
        """
        if not self.prices:
            raise ValueError("no prices are stored with this router, so it knows no budget")
        if not tokens >= self.tokens[-1]:
            raise ValueError(f"tokens must be at least the {self.tokens[-1]:g} of the shortest clips, got {tokens:g}")
        place = bisect_left(self.tokens, -tokens, key=lambda each: -each)
        if place == 0 or self.tokens[place] == tokens or self.prices[place - 1] == 0:
            return self.prices[place]
        (more, cheap), (fewer, dear) = ((self.tokens[i], self.prices[i]) for i in (place - 1, place))
        share = (more - tokens) / (more - fewer)
        return math.exp((1 - share) * math.log(cheap) + share * math.log(dear))
