"""Work beside the caller."""

from collections.abc import Iterator

import pytest

from evatok.utils.background import in_background


def test_things_arrive_in_order_and_the_block_waits_for_the_last() -> None:
    taken: list[int] = []
    with in_background(taken.extend) as hand:
        for number in range(50):
            hand(number)
    assert taken == list(range(50))


def test_a_function_may_take_a_few_things_only() -> None:
    taken: list[int] = []

    def first(numbers: Iterator[int]) -> None:
        taken.append(next(numbers))

    with in_background(first) as hand:
        for number in range(50):
            hand(number)
    assert taken == [0]


@pytest.mark.parametrize("things", [1, 50])
def test_what_the_function_raises_is_raised_here(things: int) -> None:
    def broken(numbers: Iterator[int]) -> None:
        next(numbers)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), in_background(broken) as hand:
        for number in range(things):
            hand(number)


def test_the_function_learns_that_the_caller_has_failed() -> None:
    ended: list[str] = []

    def careful(numbers: Iterator[int]) -> None:
        try:
            for _ in numbers:
                pass
            ended.append("finished")
        except Exception:
            ended.append("tidied up")
            raise

    with pytest.raises(ValueError, match="wrong"), in_background(careful) as hand:
        hand(1)
        raise ValueError("wrong")
    assert ended == ["tidied up"]
