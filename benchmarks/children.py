"""Measurements in processes of their own, which neither memory nor settings of another one reach."""

import ctypes
import gc
import multiprocessing
import os
import re
import resource
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


def in_child(
    function: Callable[..., ResultT], *arguments: Any, environment: Mapping[str, str] | None = None
) -> ResultT:
    """What a function gives in a new process; see `side_by_side`."""
    return side_by_side(1, function, *arguments, environment=environment)[0]


def side_by_side(
    count: int, function: Callable[..., ResultT], *arguments: Any, environment: Mapping[str, str] | None = None
) -> list[ResultT]:
    """What a function gives in each of some new processes that run at the same time.

    Args:
        count: how many.
        function: importable by its name; its arguments and its result are pickled.
        arguments: what to call it with.
        environment: variables that the processes have besides this one's.

    Raises:
        BrokenProcessPool: a process died, for lack of memory perhaps.
    """
    before = dict(os.environ)
    os.environ.update(environment or {})
    try:
        with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
            return [each.result() for each in [pool.submit(function, *arguments) for _ in range(count)]]
    finally:
        os.environ.clear()
        os.environ.update(before)


def peak_memory() -> int:
    """Bytes of memory that this process has held at most."""
    status = Path("/proc/self/status")
    if status.exists():
        # `ru_maxrss` would not do: on Linux a process begins with that of the one that started it.
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert found is not None
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def restart_peak_memory() -> int:
    """Has `peak_memory` speak of what comes from now on (on Linux alone); gives the bytes that are held now."""
    gc.collect()
    gc.freeze()  # what is there now need not be looked through the next time
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # or what was freed before would be held still, and be used unseen
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()
