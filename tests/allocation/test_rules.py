"""Rules on small tables."""

import pytest
import torch
from torch import Tensor

from evatok.allocation.reward import ProxyReward
from evatok.allocation.rules import Price, Random, Rule, Threshold, Uniform
from evatok.assignment import AssignmentError, AssignmentSpace

SPACE = AssignmentSpace((1, 2), 2)  # (1, 1), (1, 2), (2, 1), (2, 2)
TABLE = torch.tensor([[0.9, 0.5, 0.4, 0.1], [0.3, 0.3, 0.3, 0.3]])


def assignments(picks: Tensor) -> list[tuple[int, ...]]:
    return [SPACE.assignment(int(pick)) for pick in picks]


def test_the_price_of_a_reward_spends_on_the_clip_that_gains() -> None:
    reward = ProxyReward.fit(TABLE, SPACE.costs)
    assert assignments(Price(reward.price(1.2)).pick(TABLE, SPACE)) == [(2, 2), (1, 1)]
    assert assignments(Price(reward.price(0.01)).pick(TABLE, SPACE)) == [(1, 1), (1, 1)]


def test_price_goes_from_the_best_to_the_shortest() -> None:
    assert assignments(Price(0.0).pick(TABLE, SPACE)) == [(2, 2), (1, 1)]
    assert assignments(Price(0.35).pick(TABLE, SPACE)) == [(2, 1), (1, 1)]
    assert assignments(Price(9.0).pick(TABLE, SPACE)) == [(1, 1), (1, 1)]


@pytest.mark.parametrize(
    ("lpips", "picked"),
    [
        (0.45, [(2, 1), (1, 1)]),
        (0.5, [(2, 1), (1, 1)]),
        (0.2, [(2, 2), (2, 2)]),
        (0.95, [(1, 1), (1, 1)]),
        (0.01, [(2, 2), (2, 2)]),
    ],
)
def test_threshold_takes_the_shortest_that_is_good_enough(lpips: float, picked: list[tuple[int, ...]]) -> None:
    assert assignments(Threshold(lpips).pick(TABLE, SPACE)) == picked


def test_uniform_and_random() -> None:
    assert assignments(Uniform(2).pick(TABLE, SPACE)) == [(2, 2), (2, 2)]
    many = Random(seed=3).pick(torch.zeros(4000, 4), SPACE)
    assert torch.equal(many, Random(seed=3).pick(torch.zeros(4000, 4), SPACE))
    assert ((many.bincount(minlength=4) / 4000 - 0.25).abs() < 0.03).all()


@pytest.mark.parametrize("rule", [Price(0.1), Threshold(0.2), Uniform(1), Random()])
@pytest.mark.parametrize("first", [1, 2])
def test_every_rule_keeps_a_prefix(rule: Rule, first: int) -> None:
    assert all(picked[0] == first for picked in assignments(rule.pick(TABLE, SPACE, (first,))))
    with pytest.raises(AssignmentError):
        rule.pick(TABLE, SPACE, (3,))


def test_equally_good_assignments_are_broken_by_length() -> None:
    space = AssignmentSpace((1, 8), 2)
    table = torch.tensor([[0.5, 0.2, 0.2, 0.2]])
    assert Price(0.0).pick(table, space).tolist() == [1]


def test_a_table_of_another_space_is_refused() -> None:
    with pytest.raises(ValueError, match=r"is \(clips, 4\), got \(2, 3\)"):
        Price(0.1).pick(torch.zeros(2, 3), SPACE)
