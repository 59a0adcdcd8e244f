"""Scores of picks on tables worked out by hand."""

import pytest
import torch

from evatok.allocation.reward import ProxyReward
from evatok.assignment import AssignmentSpace
from evatok.evaluation.routing import (
    Prediction,
    best_uniform,
    confusion,
    own_uniform,
    prediction_scores,
    routing_scores,
)

SPACE = AssignmentSpace((1, 2), 2)  # (1, 1), (1, 2), (2, 1), (2, 2)
REWARD = ProxyReward(0.5, 0.1, 3.0, 1.0)
# At w_q 1: reward = (0.5 - lpips) / 0.1 - (tokens - 3).
TRUTH = torch.tensor([[0.9, 0.5, 0.4, 0.1], [0.3, 0.4, 0.5, 0.3]])
# Rewards: -3, 0, 1, 3 and 3, 1, 0, 1.


def test_percentile_regret_and_first() -> None:
    found = routing_scores(TRUTH, SPACE, REWARD, 1.0, torch.tensor([2, 0]))
    assert found.percentile == pytest.approx(100 * (2 + 1.5) / (3 + 1.5), rel=1e-5)
    assert found.regret == pytest.approx(1.0, rel=1e-5) and found.top1 == 0.5 and found.top5 is None
    assert found.tokens == 2.5 and found.lpips == pytest.approx(0.35)


def test_a_prediction_is_ranked_by_the_reward_that_it_predicts() -> None:
    guess = torch.tensor([[0.9, 0.5, 0.1, 0.15], [0.3, 0.4, 0.5, 0.6]])
    found = prediction_scores(TRUTH, SPACE, REWARD, 1.0, Prediction("guess", guess))
    assert (found.top1, found.top5) == (0.5, 1.0) and found.tokens == 2.5
    wide = AssignmentSpace((1, 2, 3), 2)
    truth = torch.arange(9.0).expand(2, -1) / 10
    order = torch.tensor([[9.0, 8, 7, 6, 5, 4, 3, 2, 1], [4, 8, 7, 6, 5, 9, 3, 2, 1]])
    scores = routing_scores(truth, wide, REWARD, 1.0, torch.tensor([0, 5]), order)
    assert (scores.top1, scores.top5) == (0.5, 0.5)


def test_a_classification_knows_its_preference_and_picks_what_is_likeliest() -> None:
    prediction = Prediction("paper", torch.tensor([[3.0, 0.1, 2.0, 9.0], [0.1, 2.0, 2.0, 2.0]]), w_q=1.2)
    assert prediction.knows(1.2) and not prediction.knows(1.0) and Prediction("any", TRUTH).knows(1.0)
    assert prediction.pick(SPACE, REWARD, 1.2).tolist() == [1, 0]


def test_own_uniform_is_each_clips_best_level() -> None:
    costs = SPACE.costs
    picked = []
    for clip in range(len(TRUTH)):
        rewards = {
            index: REWARD(TRUTH[clip : clip + 1, index : index + 1], costs[index : index + 1], 1.0).item()
            for index in (SPACE.index(SPACE.uniform(level)) for level in SPACE.levels)
        }
        picked.append(max(rewards, key=rewards.__getitem__))
    expected = routing_scores(TRUTH, SPACE, REWARD, 1.0, torch.tensor(picked))
    assert own_uniform(TRUTH, SPACE, REWARD, 1.0) == expected
    assert expected.percentile >= best_uniform(TRUTH, SPACE, REWARD, 1.0)[1].percentile


def test_best_uniform_is_the_best_of_the_levels() -> None:
    level, scores = best_uniform(TRUTH, SPACE, REWARD, 1.0)
    # Mean rewards: 0 for (1, 1), 2 for (2, 2).
    assert level == 2 and scores.percentile == pytest.approx(100 * (2 + 1.5) / 4.5, rel=1e-5)


def test_confusion_counts_blocks_by_level() -> None:
    counts = confusion(SPACE, torch.tensor([1, 2, 2]), torch.tensor([1, 3, 0]))
    assert counts == [[[1, 1], [0, 1]], [[1, 0], [1, 1]]]
