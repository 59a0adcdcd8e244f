"""Measurements in processes of their own, which neither memory nor settings of another one reach."""

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
    """What a function gives in a new process, which gets these environment variables besides this one's.

    Args:
        function: importable by its name; its arguments and its result are pickled.
        arguments: what to call it with.
        environment: variables and their values.

    Raises:
        BrokenProcessPool: the process died, for lack of memory perhaps.
    """
    before = dict(os.environ)
    os.environ.update(environment or {})
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
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
