"""The beam on tables of measured errors, with and without a cost to go."""

from itertools import product

import pytest
import torch
from torch import Tensor

from evatok.allocation.beam import Beam, Expected, Growth, OfTable
from evatok.assignment import Assignment, AssignmentSpace

SPACE = AssignmentSpace((8, 16, 32), 3)


def table(seed: int = 0) -> Tensor:
    """Errors that fall with tokens, also with those of the block before, and some noise."""
    generator = torch.Generator().manual_seed(seed)
    errors = [
        0.5 / (lengths[-1] + 0.5 * sum(lengths[:-1])) + 0.004 * float(torch.rand((), generator=generator))
        for blocks in (1, 2, 3)
        for lengths in SPACE.of_blocks(blocks).lengths.tolist()
    ]
    return torch.tensor(errors)


def total(errors: Tensor, lengths: Assignment, price: float) -> float:
    """What an assignment costs, by the table."""
    prefixes = [lengths[: blocks + 1] for blocks in range(len(lengths))]
    return sum(float(errors[SPACE.prefix(prefix)]) for prefix in prefixes) + price * sum(lengths)


def best(errors: Tensor, price: float, blocks: int = 3) -> Assignment:
    return min(product(SPACE.levels, repeat=blocks), key=lambda lengths: total(errors, lengths, price))


@pytest.mark.parametrize("price", [0.0, 1e-4, 5e-4, 2e-3])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_beam_that_holds_everything_finds_the_best(price: float, blocks: int) -> None:
    errors = table()
    measurer = OfTable(SPACE, errors)
    found = Beam(SPACE.levels, 9, price).run(measurer, blocks)
    assert found[0].lengths == best(errors, price, blocks)
    costs = [each.error + price * sum(each.lengths) for each in found]
    assert costs == sorted(costs)
    assert costs[0] == pytest.approx(total(errors, found[0].lengths, price))
    assert measurer.blocks == (3, 12, 39)[blocks - 1]


@pytest.mark.parametrize("price", [1e-4, 5e-4, 2e-3])
def test_a_true_cost_to_go_finds_the_best_by_one_block_each(price: float) -> None:
    errors = table(1)
    measurer = OfTable(SPACE, errors)
    beam = Beam(SPACE.levels, 1, price, Expected(SPACE, errors), tried=1)
    assert beam.run(measurer, 3)[0].lengths == best(errors, price)
    assert measurer.blocks == 3


def test_the_cost_to_go_is_the_least_of_all_continuations() -> None:
    errors, price = table(2), 3e-4
    expected = Expected(SPACE, errors)
    for prefix in ((8,), (32,), (16, 8), (8, 32), (8, 16, 32)):
        rests = product(SPACE.levels, repeat=3 - len(prefix))
        rest = min(total(errors, (*prefix, *rest), price) for rest in rests) - total(errors, prefix, price)
        last, ahead = expected.ahead(prefix, 3, price)
        assert last == pytest.approx(float(errors[SPACE.prefix(prefix)]))
        assert ahead == pytest.approx(rest)


def test_a_shorter_clip_ends_where_it_ends() -> None:
    errors = table(3)
    assert Expected(SPACE, errors).ahead((8, 16), 2, 1e-4)[1] == 0
    assert Expected(SPACE, errors).ahead((8,), 2, 0.0)[1] == pytest.approx(float(errors[3:6].min()))


class Steady:
    """Measures blocks of which each is worth the same, whatever came before."""

    def __init__(self) -> None:
        self.measured: list[int] = []

    def measure(self, growths: list[Growth]) -> list[float]:
        self.measured.append(len(growths))
        return [1 / growth.level for growth in growths]

    def keep(self, places: list[int]) -> None:
        assert len(places) == len(set(places))


@pytest.mark.parametrize("blocks", [4, 8, 64])
def test_longer_clips_are_seen_through_a_window_at_linear_cost(blocks: int) -> None:
    errors = torch.tensor([1 / lengths[-1] for b in (1, 2, 3) for lengths in SPACE.of_blocks(b).lengths.tolist()])
    measurer, price = Steady(), 1 / 200
    beam = Beam(SPACE.levels, 2, price, Expected(SPACE, errors))
    found = beam.run(measurer, blocks)  # type: ignore[arg-type]
    cheapest = min(SPACE.levels, key=lambda level: 1 / level + price * level)
    assert found[0].lengths == (cheapest,) * blocks
    assert measurer.measured == [3, *[5] * (blocks - 1)]


@pytest.mark.parametrize(("width", "counts"), [(1, [3, 3, 3]), (2, [3, 5, 5]), (4, [3, 9, 9])])
def test_about_twice_as_many_are_measured_as_kept(width: int, counts: list[int]) -> None:
    measurer = Steady()
    Beam(SPACE.levels, width, 0.0, Expected(SPACE, table())).run(measurer, 3)  # type: ignore[arg-type]
    assert measurer.measured == counts


@pytest.mark.parametrize("width", [0, -1, 1.5])
def test_what_is_no_width_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match="beam must be a whole number of at least 1"):
        Beam(SPACE.levels, width, 0.0)
