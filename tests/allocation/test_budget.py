"""The budget against an integer program."""

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from evatok.allocation.budget import allocate
from evatok.allocation.rules import Price
from evatok.assignment import AssignmentSpace

SPACE = AssignmentSpace((8, 16, 32), 3)


def made_up(clips: int, seed: int) -> Tensor:
    """LPIPS that mostly falls with tokens, at another rate in each clip, with some noise."""
    generator = torch.Generator().manual_seed(seed)
    need = torch.rand(clips, 1, 3, generator=generator)
    quality = (need * torch.exp(-SPACE.lengths / (60 * need + 4))).mean(2)
    return quality + 0.02 * torch.rand(clips, len(SPACE), generator=generator)


def optimum(table: Tensor, tokens: float) -> float:
    """Mean LPIPS of the best allocation, by an exact solver."""
    clips, choices = table.shape
    one_each = np.kron(np.eye(clips), np.ones(choices))
    spent = np.tile(SPACE.costs.numpy(), clips)[None] / clips
    solved = milp(
        table.double().flatten().numpy(),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(spent, -np.inf, tokens)],
        integrality=np.ones(table.numel()),
        bounds=Bounds(0, 1),
    )
    assert solved.success
    return solved.fun / clips


@pytest.mark.parametrize("tokens", [24.0, 31.0, 47.3, 70.0, 96.0])
@pytest.mark.parametrize("seed", range(3))
def test_budget_is_kept_and_near_the_optimum(tokens: float, seed: int) -> None:
    table = made_up(20, seed)
    bought, best = allocate(table, SPACE, tokens), optimum(table, tokens)
    assert bought.tokens <= tokens and bought.tokens == SPACE.costs[bought.picks].double().mean().item()
    assert bought.bound <= best + 1e-9 and best <= bought.lpips + 1e-9
    assert bought.lpips == pytest.approx(best, rel=0.01)
    assert bought.gap >= -1e-12 and bought.lpips - best <= bought.gap + 1e-9


def test_its_price_picks_the_same_without_the_neighbours() -> None:
    table = made_up(100, 0)
    bought = allocate(table, SPACE, 50.0)
    alone = torch.cat([Price(bought.price).pick(row[None], SPACE) for row in table])
    assert (alone == bought.picks).float().mean() > 0.95


def test_a_prefix_is_kept() -> None:
    bought = allocate(made_up(10, 1), SPACE, 60.0, prefix=(32,))
    assert (SPACE.lengths[bought.picks][:, 0] == 32).all() and bought.tokens <= 60


def test_more_than_enough_buys_the_best() -> None:
    table = made_up(10, 2)
    bought = allocate(table, SPACE, 1000.0)
    assert bought.lpips == pytest.approx(table.amin(1).mean().item()) and bought.gap == pytest.approx(0, abs=1e-9)


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="has 24 tokens, more than the budget of 23"):
        allocate(made_up(3, 0), SPACE, 23.0)
    with pytest.raises(ValueError, match="has 48 tokens"):
        allocate(made_up(3, 0), SPACE, 40.0, prefix=(32,))
    with pytest.raises(ValueError, match="no clip"):
        allocate(torch.zeros(0, len(SPACE)), SPACE, 40.0)
