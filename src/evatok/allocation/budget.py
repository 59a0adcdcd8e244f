"""The best assignments of a set of clips under a mean number of tokens, by Lagrangian bisection.

The allocation is a multiple-choice knapsack: one assignment for each clip, tokens in common. At a price a token, every
clip picks for itself; the price at which the picks just fit the budget is found by bisection, what is left of the
budget is filled greedily, and the dual bound tells how far from the optimum that can be at most.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evatok.allocation.rules import Price
from evatok.assignment import AssignmentSpace

_HALVINGS = 100


@dataclass(frozen=True)
class Allocation:
    """What a budget buys.

    Args:
        picks: index of each clip's assignment, `(clips,)` int64.
        tokens: their mean, never above the budget.
        lpips: mean LPIPS of the clips at these assignments.
        bound: no allocation within the budget has a lower mean LPIPS.
        price: of a token, in LPIPS: `Price(price)` picks the same for nearly all clips, each for itself.
    """

    picks: Tensor
    tokens: float
    lpips: float
    bound: float
    price: float

    @property
    def gap(self) -> float:
        """By how much the mean LPIPS may be above the optimum, at most."""
        return self.lpips - self.bound


def allocate(table: Tensor, space: AssignmentSpace, tokens: float, prefix: Sequence[int] = ()) -> Allocation:
    """Assignments with a low mean LPIPS whose mean number of tokens is at most `tokens`.

    Args:
        table: LPIPS of every clip under every assignment, `(clips, len(space))`.
        space: the assignments.
        tokens: the budget, mean tokens of a clip.
        prefix: fixes the first blocks of all clips.

    Raises:
        ValueError: the budget is below the shortest assignment, or the table is empty.
    """
    costs = space.costs.double()
    indices = space.with_prefix(prefix)
    shortest = costs[indices.start : indices.stop].min().item()
    if not tokens >= shortest:
        raise ValueError(f"the shortest assignment has {shortest:.0f} tokens, more than the budget of {tokens}")
    if not len(table):
        raise ValueError("the table has no clip to spend tokens on")
    table = table.double()
    price = lowest_price(lambda price: costs[Price(price).pick(table, space, prefix)].mean().item() <= tokens)
    picks = _fill(table, costs, Price(price).pick(table, space, prefix), tokens, indices)
    chosen = table.gather(1, picks[:, None])[:, 0]
    bound = (table + price * costs)[:, indices.start : indices.stop].amin(1).mean() - price * tokens
    return Allocation(picks, costs[picks].mean().item(), chosen.mean().item(), bound.item(), price)


def lowest_price(fits: Callable[[float], bool]) -> float:
    """The lowest price, up to rounding, that fits, by bisection; all that are higher fit too, and some price does."""
    if fits(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while not fits(high):
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _fill(table: Tensor, costs: Tensor, picks: Tensor, tokens: float, allowed: range) -> Tensor:
    """Spends what is left: again and again on the change that improves LPIPS most for a token and still fits."""
    picks = picks.clone()
    inside = torch.zeros(len(costs), dtype=torch.bool)
    inside[allowed.start : allowed.stop] = True
    left = tokens * len(table) - costs[picks].sum()
    gain = table.gather(1, picks[:, None]) - table
    extra = costs - costs[picks][:, None]
    while True:
        possible = inside & (gain > 0) & (extra <= left)
        worth = torch.where(possible, gain / extra.clamp(min=1e-9), -torch.inf)
        best = worth.amax(1)
        clip = int(best.argmax())
        if not torch.isfinite(best[clip]):
            return picks
        change = int(worth[clip].argmax())
        left = left - extra[clip, change]
        picks[clip] = change
        gain[clip] = table[clip, change] - table[clip]
        extra[clip] = costs - costs[change]
