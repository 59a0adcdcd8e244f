"""What preferences and budgets mean to a predictor: the reward's statistics, and the price that a budget comes to.

A price is found once, on a set of clips, and stored. So a clip's assignment never depends on its neighbours: a budget
is kept on average over clips like those, not by every set of clips.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Literal

import torch
from torch import Tensor

from evatok.allocation.beam import Beam, Expected, OfTable
from evatok.allocation.reward import ProxyReward
from evatok.allocation.rules import Price
from evatok.assignment import AssignmentSpace

# Prices in units of the reward's own, from nearly none to far above any gain.
_PRICES = torch.logspace(-4, 2.5, 105, dtype=torch.float64).tolist()
# Beams are calibrated at fewer prices, and of these widths; they are what they cost.
BEAM_STEP, BEAM_WIDTHS = 8, (1, 2, 4, 8)


@dataclass(frozen=True)
class Calibration:
    """How a predictor's tables are to be priced.

    Args:
        reward: the proxy reward, fitted on the training clips.
        w_q: the preference where nothing else is asked for.
        prices: of a token in LPIPS, rising.
        tokens: mean tokens of a clip that the calibration clips take at these prices, falling.
        beams: the same where a beam of so many prefixes chooses, at every `BEAM_STEP`-th of these prices.
        lpips_per_mse: how much LPIPS a mean squared error (on the scale 0 to 255) is worth: the deviation of the one
            over that of the other; 0 where that is not known.
        lpips_net: the network of LPIPS that prices are in units of.
    """

    reward: ProxyReward
    w_q: float = 1.2
    prices: tuple[float, ...] = ()
    tokens: tuple[float, ...] = ()
    beams: dict[str, tuple[float, ...]] = field(default_factory=dict)
    lpips_per_mse: float = 0.0
    lpips_net: Literal["alex", "vgg"] = "alex"

    def __post_init__(self) -> None:
        for name in ("prices", "tokens"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for width, tokens in self.beams.items():
            if not width.isdecimal() or len(tokens) != len(self.prices[::BEAM_STEP]):
                raise ValueError(f"a beam has a width and {len(self.prices[::BEAM_STEP])} numbers of tokens")
        if len(self.prices) != len(self.tokens):
            raise ValueError(f"there are {len(self.prices)} prices and {len(self.tokens)} numbers of tokens")
        falling = [self.tokens, *self.beams.values()]
        if any(a >= b for a, b in pairwise(self.prices)) or any(a < b for each in falling for a, b in pairwise(each)):
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

    def with_beams(self, measured: Tensor, expected: Tensor, mse: Tensor, space: AssignmentSpace) -> "Calibration":
        """The same with what beams take of clips of which all blocks have been measured.

        Args:
            measured: LPIPS of each block under each prefix, `(clips, prefixes)`.
            expected: what the router says of them.
            mse: mean squared error, likewise.
            space: the assignments.
        """
        beams = {str(width): self._by_beam(width, measured, expected, space) for width in BEAM_WIDTHS}
        whole = mse[:, space.prefixes].mean(2).double().std(correction=0).item()
        return replace(self, beams=beams, lpips_per_mse=self.reward.lpips_std / whole if whole > 0 else 0.0)

    def _by_beam(self, width: int, measured: Tensor, expected: Tensor, space: AssignmentSpace) -> tuple[float, ...]:
        """Mean tokens of the clips at every `BEAM_STEP`-th price, falling."""
        tables = [Expected(space, values) for values in expected]
        means = []
        for price in self.prices[::BEAM_STEP]:
            beams = (Beam(space.levels, width, space.blocks * price, table) for table in tables)
            found = [
                beam.run(OfTable(space, errors), space.blocks) for beam, errors in zip(beams, measured, strict=True)
            ]
            means.append(sum(sum(kept[0].lengths) for kept in found) / len(found))
        # A narrow beam may take a token more at a higher price.
        return tuple(accumulate(means, min))

    def price(self, w_q: float | None = None) -> float:
        """What a token costs in LPIPS at a preference, the calibration's own if None, as `ProxyReward.price` says."""
        return self.reward.price(self.w_q if w_q is None else w_q)

    def price_for(self, tokens: float, beam: int = 0) -> float:
        """The price at which clips like the calibration clips take `tokens` tokens each, on average.

        Args:
            tokens: mean of a clip.
            beam: width of the beam that chooses, 0 for none; of those that were calibrated the nearest counts.

        Raises:
            ValueError: it is below the fewest that any assignment has, or there is nothing to tell it from.
        """
        if not self.prices:
            raise ValueError("no prices are stored with this router, so it knows no budget")
        if not tokens >= self.tokens[-1]:
            raise ValueError(f"tokens must be at least the {self.tokens[-1]:g} of the shortest clips, got {tokens:g}")
        if beam == 0:
            return _between(self.prices, self.tokens, tokens)
        if not self.beams:
            raise ValueError("no prices for beams are stored with this router: ask for w_q, or train it again")
        nearest = min(self.beams, key=lambda width: abs(math.log(int(width) / beam)))
        return _between(self.prices[::BEAM_STEP], self.beams[nearest], tokens)


def _between(prices: Sequence[float], tokens: Sequence[float], wanted: float) -> float:
    """The price between two at which so many tokens are wanted, on logarithmic scales."""
    place = min(bisect_left(tokens, -wanted, key=lambda each: -each), len(tokens) - 1)
    if place == 0 or tokens[place] == wanted or prices[place - 1] == 0:
        return prices[place]
    (more, cheap), (fewer, dear) = ((tokens[i], prices[i]) for i in (place - 1, place))
    share = (more - wanted) / (more - fewer)
    return math.exp((1 - share) * math.log(cheap) + share * math.log(dear))
