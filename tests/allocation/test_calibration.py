"""Prices of preferences and budgets."""

import pytest
import torch

from evatok.allocation.calibration import Calibration
from evatok.allocation.reward import ProxyReward
from evatok.allocation.rules import Price
from evatok.assignment import AssignmentSpace

SPACE = AssignmentSpace((8, 16, 32), 2)


def fitted() -> tuple[Calibration, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ease = torch.rand(200, 1, generator=generator)
    table = 0.2 + ease * 3 / (SPACE.costs + 4) + 0.003 * torch.rand(200, 9, generator=generator)
    return Calibration.fit(table, SPACE, ProxyReward.fit(table, SPACE.costs)), table


@pytest.mark.parametrize("tokens", [18.0, 24.0, 33.0, 50.0])
def test_a_budget_is_nearly_kept_by_clips_like_those(tokens: float) -> None:
    calibration, table = fitted()
    picks = Price(calibration.price_for(tokens)).pick(table, SPACE)
    assert SPACE.costs[picks].double().mean().item() == pytest.approx(tokens, rel=0.05)


def test_more_tokens_than_help_cost_nothing_and_too_few_are_refused() -> None:
    calibration, _ = fitted()
    assert calibration.price_for(1000) == 0.0
    assert calibration.tokens[-1] == 16
    with pytest.raises(ValueError, match="at least the 16 of the shortest clips"):
        calibration.price_for(12)
    with pytest.raises(ValueError, match="knows no budget"):
        Calibration(calibration.reward).price_for(20)


def test_a_preference_has_the_price_of_the_reward() -> None:
    calibration, table = fitted()
    picks = Price(calibration.price(1.6)).pick(table, SPACE)
    assert torch.equal(picks, calibration.reward(table, SPACE.costs, 1.6).argmax(1))
    assert calibration.price() == calibration.price(1.2) and calibration.price(2.0) == 0
    for wrong in (0.0, 2.1):
        with pytest.raises(ValueError, match="w_q must be above 0"):
            calibration.price(wrong)


def test_senseless_calibrations_are_refused() -> None:
    reward = fitted()[0].reward
    with pytest.raises(ValueError, match="2 prices and 1 numbers"):
        Calibration(reward, 1.2, (0.0, 1.0), (3.0,))
    with pytest.raises(ValueError, match="prices must rise and tokens fall"):
        Calibration(reward, 1.2, (0.0, 1.0), (3.0, 4.0))
    with pytest.raises(ValueError, match="w_q must be above 0"):
        Calibration(reward, 0.0)
