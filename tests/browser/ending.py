"""Ends a browser by force where it does not answer: closing a page, unlike opening it, waits without limit."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

import psutil


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """Kills the browsers that this process has started if the block takes longer; what waits for them then raises."""
    timer = Timer(seconds, _end_browsers)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def browsers() -> list[psutil.Process]:
    """All processes of the browsers that this process has started."""
    return [each for each in psutil.Process().children(recursive=True) if "chromium" in each.name()]


def _end_browsers() -> None:
    for process in browsers():
        process.kill()
