"""How a video file is decoded: what its threads may hold."""

import os

import pytest

from evatok.video.file import MOST_PIXELS, threads_for


def test_large_pictures_are_in_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread holds a picture."""
    sizes = (64 * 64, 1280 * 720, 3840 * 2160, 7680 * 4320, MOST_PIXELS, 2 * MOST_PIXELS)
    for processors, threads in ((64, [1, 16, 8, 2, 1, 1]), (2, [1, 0, 0, 2, 1, 1])):
        monkeypatch.setattr(os, "cpu_count", lambda number=processors: number)
        assert [threads_for(pixels) for pixels in sizes] == threads
