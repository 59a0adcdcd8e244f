"""SVT-AV1 does not leave a process at the priority that it had."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def priority_kept() -> Iterator[None]:
    """Gives the thread the scheduling back that it had.

    As root, SVT-AV1 puts the thread that opens its encoder above all others, in real time, and leaves it there, with
    all processes that it starts from then on: two spinning threads of a browser have kept both cores from all else so.
    """
    if not hasattr(os, "sched_setscheduler"):  # not Linux
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if (os.sched_getscheduler(0), os.sched_getparam(0)) != before:
            os.sched_setscheduler(0, *before)
