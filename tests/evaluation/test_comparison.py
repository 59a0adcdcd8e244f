"""Strategies on made-up tables, and comparisons whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evatok.allocation.reward import ProxyReward
from evatok.assignment import AssignmentSpace
from evatok.evaluation.comparison import Draws, compare_curves, share_of
from evatok.evaluation.routing import Prediction
from evatok.evaluation.strategies import SWEEP, Curve, strategies
from evatok.search.table import SearchTable

SPACE = AssignmentSpace((8, 16, 32, 64), 2)


def searched(clips: int) -> SearchTable:
    """Clips of two kinds: the first block matters, or the second one does."""
    generator = torch.Generator().manual_seed(0)
    first = (torch.arange(clips) % 2).double()[:, None]
    one, two = SPACE.lengths.unbind(1)
    ease = 0.5 + torch.rand(clips, 1, generator=generator, dtype=torch.float64)
    level_one = torch.tensor(SPACE.levels)
    values = torch.cat(
        [
            0.05 + ease * (0.2 + 3.8 * first) / (level_one + 8),
            0.05 + ease * (0.2 + 3.8 * (1 - first)) / (two + 8) + 0.0001 * one,
        ],
        1,
    ).float()
    keys = tuple(f"{'even' if clip % 2 == 0 else 'odd'}:{clip}@0+1" for clip in range(clips))
    return SearchTable(SPACE, tuple(range(clips)), keys, 1000 * values, values, torch.rand(clips, 2), {})


TRUTH = searched(60)
REWARD = ProxyReward.fit(TRUTH.clip_lpips, SPACE.costs)
SEARCH = Prediction("search", TRUTH.clip_lpips)
MEAN = Prediction("mean", TRUTH.clip_lpips.mean(0).expand(60, -1))
CURVES = {
    strategy.name: Curve.measured(strategy, TRUTH)
    for strategy in strategies([SEARCH, MEAN, Prediction("paper", -TRUTH.clip_lpips, 1.2)], SPACE, REWARD)
}


def test_every_rule_meets_every_predictor() -> None:
    assert list(CURVES) == [
        "uniform",
        "random",
        *(f"{who} {rule}" for who in ("search", "mean") for rule in ("reward", "threshold", "budget")),
        "paper reward",
    ]
    assert CURVES["search reward"].strategy.settings == SWEEP and SWEEP[0] == 0.4 and SWEEP[-1] == 2.0
    assert CURVES["paper reward"].strategy.settings == (1.2,)
    assert CURVES["uniform"].tokens.mean(1).tolist() == [16, 32, 64, 128]


def test_points_are_what_was_measured() -> None:
    curve = CURVES["search reward"]
    place = SWEEP.index(1.2)
    picks = REWARD(TRUTH.clip_lpips, SPACE.costs, 1.2).argmax(1)
    assert curve.tokens[place].tolist() == SPACE.costs[picks].tolist()
    assert curve.lpips[place] == pytest.approx(TRUTH.clip_lpips[torch.arange(60), picks].numpy())
    assert curve.psnr[place, 7] == pytest.approx(TRUTH.clip_psnr[7, picks[7]].item())
    assert curve.of_clips([3, 5]).tokens.shape == (9, 2)


def test_budgets_are_kept_and_tokens_rise_with_the_preference() -> None:
    budget = CURVES["search budget"]
    assert (budget.tokens.mean(1) <= np.array(budget.strategy.settings) + 1e-9).all()
    assert (np.diff(CURVES["search reward"].tokens.mean(1)) >= 0).all()
    assert (np.diff(CURVES["search threshold"].tokens.mean(1)) >= 0).all()


def test_the_search_saves_tokens_and_its_interval_says_how_sure_that_is() -> None:
    draws = Draws(60, 200, seed=0)
    found = compare_curves(CURVES["search reward"], CURVES["uniform"], draws)
    value, low, high = found.bd_tokens.value, found.bd_tokens.low, found.bd_tokens.high
    assert value is not None and low is not None and high is not None
    assert 20 < low <= value <= high < 80 and 0 < found.overlap <= 1
    assert [setting for setting, _ in found.saved] == list(SWEEP)
    again = compare_curves(CURVES["search reward"], CURVES["uniform"], Draws(60, 200, seed=0))
    assert again == found


def test_a_curve_against_itself_saves_nothing_in_any_draw() -> None:
    curve = CURVES["search reward"]
    found = compare_curves(curve, replace(curve), Draws(60, 20, seed=1))
    assert found.bd_tokens.value == pytest.approx(0, abs=1e-9)
    assert found.bd_tokens.low == pytest.approx(0, abs=1e-9) and found.bd_tokens.high == pytest.approx(0, abs=1e-9)
    share = share_of(curve, curve, CURVES["mean reward"], Draws(60, 20, seed=1))
    assert share.value == pytest.approx(1) and share.defined == 1


def test_a_single_point_is_compared_where_the_reference_has_its_quality() -> None:
    found = compare_curves(CURVES["random"], CURVES["search reward"], Draws(60, 20, seed=2))
    assert found.bd_tokens.value is None and found.bd_tokens.defined == 0
    [(_, saved)] = found.saved
    assert saved.value is not None and saved.value < 0


def test_there_is_no_share_where_the_best_saves_nothing() -> None:
    curve = CURVES["mean reward"]
    share = share_of(curve, curve, curve, Draws(60, 20, seed=1))
    assert share.value is None and share.low is None and share.defined == 0
