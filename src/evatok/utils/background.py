"""Things handed to a function that works beside the caller, in a thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import TypeVar

ThingT = TypeVar("ThingT")
_WAITING = 8  # things that are handed over before the function has taken them


class _End(Exception):
    """Nothing more is to come: all is said, or the caller has failed."""


@contextmanager
def in_background(consume: Callable[[Iterator[ThingT]], None]) -> Iterator[Callable[[ThingT], None]]:
    """Gives a function that hands things to `consume`, which takes them in a thread, in order.

    The block ends when `consume` has returned. What it raises is raised here, by the next thing handed over or at the
    end; where the block raises, `consume` meets an exception in place of the next thing, so that it can tidy up.
    """
    handed: Queue[ThingT | _End] = Queue(_WAITING)
    failed: list[BaseException] = []
    ended, abandoned = False, False

    def things() -> Iterator[ThingT]:
        nonlocal ended
        while not isinstance(thing := handed.get(), _End):
            yield thing
        ended = True
        if abandoned:
            raise thing

    def work() -> None:
        try:
            consume(things())
        except BaseException as error:
            failed.append(error)
        while not ended and not isinstance(handed.get(), _End):  # so that the caller never waits for a place
            pass

    def hand(thing: ThingT) -> None:
        if failed:
            raise failed[0]
        handed.put(thing)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield hand
    except BaseException:
        abandoned = True
        raise
    finally:
        handed.put(_End())
        thread.join()
    if failed:
        raise failed[0]
