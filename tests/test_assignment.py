"""Assignments, their enumeration and their indices."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evatok.assignment import AssignmentError, AssignmentSpace

PAPER = AssignmentSpace((32, 64, 128, 256, 512), 4)


def test_paper_space_has_625_assignments_in_lexicographic_order() -> None:
    assert len(PAPER) == 625
    assert PAPER.assignment(0) == (32, 32, 32, 32)
    assert PAPER.assignment(1) == (32, 32, 32, 64)
    assert PAPER.assignment(5) == (32, 32, 64, 32)
    assert PAPER.assignment(624) == (512, 512, 512, 512)
    assert PAPER.lengths.shape == (625, 4)
    assert PAPER.costs.min() == 128 and PAPER.costs.max() == 2048
    assert len({tuple(row) for row in PAPER.lengths.tolist()}) == 625


@given(st.integers(0, 624))
def test_index_and_assignment_are_inverse_and_agree_with_the_table(index: int) -> None:
    assignment = PAPER.assignment(index)
    assert PAPER.index(assignment) == index
    assert tuple(PAPER.lengths[index].tolist()) == assignment
    assert PAPER.costs[index] == sum(assignment)


@pytest.mark.parametrize("prefix", [(), (64,), (512, 32), (32, 64, 128), (32, 64, 128, 256)])
def test_prefix_gives_exactly_the_assignments_that_begin_with_it(prefix: tuple[int, ...]) -> None:
    found = set(PAPER.with_prefix(prefix))
    assert found == {i for i in range(625) if PAPER.assignment(i)[: len(prefix)] == prefix}


def test_uniform_and_membership() -> None:
    assert PAPER.uniform(64) == (64, 64, 64, 64)
    assert PAPER.uniform(64, blocks=2) == (64, 64)
    assert (32, 64, 128, 256) in PAPER
    assert (32, 64, 128) not in PAPER and (32, 64, 128, 100) not in PAPER


def test_one_block_or_one_level_is_a_space_too() -> None:
    assert AssignmentSpace((4, 8), 1).lengths.tolist() == [[4], [8]]
    assert AssignmentSpace((4,), 3).lengths.tolist() == [[4, 4, 4]]


@pytest.mark.parametrize("levels", [(), (0, 4), (8, 4), (4, 4), (4.0, 8.0)])
def test_wrong_levels_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(AssignmentError, match="levels"):
        AssignmentSpace(levels, 4)


def test_errors_say_what_came_and_what_may_come() -> None:
    with pytest.raises(AssignmentError, match=r"block 1 of .* has 33 tokens; levels are"):
        PAPER.check((32, 33))
    with pytest.raises(AssignmentError, match="1 to 4 blocks, got 5"):
        PAPER.check((32,) * 5)
    with pytest.raises(AssignmentError, match="0 to 624, got 625"):
        PAPER.assignment(625)
    with pytest.raises(AssignmentError, match="4 blocks, got 3"):
        PAPER.index((32, 32, 32))
    with pytest.raises(AssignmentError, match="blocks must be at least 1"):
        AssignmentSpace((4, 8), 0)


def test_samples_are_uniform_and_follow_their_generator() -> None:
    space = AssignmentSpace((1, 2), 2)
    drawn = space.sample(torch.Generator().manual_seed(0), 4000)
    counts = torch.bincount(drawn[:, 0] * 2 + drawn[:, 1] - 3)
    assert ((counts - 1000).abs() < 150).all()
    again = space.sample(torch.Generator().manual_seed(0), 4000)
    assert torch.equal(drawn, again)
    assert space.sample(torch.Generator()).shape == (2,)


def test_prefixes_are_numbered_by_length_and_each_assignment_has_its_own() -> None:
    space = AssignmentSpace((1, 2, 4), 3)
    assert space.prefix_starts == (0, 3, 12, 39)
    numbers = [space.prefix(prefix) for prefix in ((1,), (4,), (1, 1), (4, 4), (1, 1, 1), (4, 4, 4))]
    assert numbers == [0, 2, 3, 11, 12, 38]
    assert space.prefixes.shape == (27, 3)
    for index in range(len(space)):
        assignment = space.assignment(index)
        assert space.prefixes[index].tolist() == [space.prefix(assignment[: t + 1]) for t in range(3)]


def test_a_shorter_space_has_the_same_prefixes() -> None:
    shorter = PAPER.of_blocks(2)
    assert (len(shorter), shorter.prefix((512, 32))) == (25, PAPER.prefix((512, 32)))
    assert PAPER.of_blocks(4) is PAPER
    with pytest.raises(AssignmentError, match="1 to 4 blocks, got 0"):
        PAPER.of_blocks(0)
