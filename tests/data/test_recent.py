"""What was used last stays in memory, as much of it as may."""

import numpy as np

from evatok.data.recent import Recent


def test_memory_is_bounded_and_what_was_used_last_stays() -> None:
    made: list[int] = []

    def make(number: int) -> np.ndarray:
        made.append(number)
        return np.full(100, number, np.uint8)

    recent = Recent(make, limit=350)
    for number in (0, 1, 2, 0, 3):
        assert (recent[number] == number).all()
    assert recent.bytes == 300 and made == [0, 1, 2, 3]
    assert recent[0] is recent[0] and made == [0, 1, 2, 3]
    assert len(recent[1]) == 100 and made == [0, 1, 2, 3, 1]


def test_one_that_is_larger_than_all_memory_stays_until_the_next() -> None:
    made: list[int] = []

    def make(size: int) -> np.ndarray:
        made.append(size)
        return np.zeros(size, np.uint8)

    recent = Recent(make, limit=10)
    for size in (20, 20, 30, 20):
        assert len(recent[size]) == recent.bytes == size
    assert made == [20, 30, 20]
