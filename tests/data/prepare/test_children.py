"""Children with limits: crashes, hangs, memory and exceptions are results, and nothing is left behind."""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence

import pytest

from evatok.data.prepare.children import Failure, in_children

GIB = 2**30
linux = pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux alone")


def work(task: str) -> object:
    """What the children of these tests do."""
    kind, _, value = task.partition(" ")
    match kind:
        case "square":
            return int(value) ** 2
        case "raise":
            raise LookupError(value)
        case "exit":
            os._exit(int(value))
        case "signal":
            os.kill(os.getpid(), int(value))
        case "crash":
            ctypes.string_at(0)
        case "sleep":
            # As a library does that lets no Python code run: with the interpreter's lock held.
            ctypes.PyDLL(None).sleep(int(value))
        case "memory":
            return len(bytearray(int(value)))
        case "pid":
            return os.getpid()
        case "poison":
            # Anything done after this in the same process dies.
            globals()["work"] = lambda task: os._exit(7)
    return None


def call(task: str) -> object:
    return work(task)


def outcomes(tasks: Sequence[str], processes: int = 2, seconds: float = 60, memory: int = GIB) -> list[object]:
    found = dict(in_children(call, tasks, [seconds] * len(tasks), memory, processes))
    assert multiprocessing.active_children() == []
    return [found[number] for number in range(len(tasks))]


@pytest.mark.parametrize("processes", [1, 3])
def test_every_task_has_its_result(processes: int) -> None:
    assert outcomes([f"square {number}" for number in range(20)], processes) == [n * n for n in range(20)]
    assert outcomes([], processes) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_what_ends_a_child_is_the_result_of_its_task(processes: int) -> None:
    tasks = ["square 3", "crash", f"signal {int(signal.SIGKILL)}", "exit 5", "raise no such thing", "square 4"]
    first, crash, killed, left, raised, last = outcomes(tasks, processes)
    assert (first, last) == (9, 16)
    assert crash == Failure("reading it ends the process that does so (SIGSEGV)")
    assert killed == Failure("reading it ends the process that does so (SIGKILL)")
    assert left == Failure("reading it ends the process that does so (exit code 5)")
    assert raised == Failure("LookupError: no such thing")


def test_a_hang_is_ended_even_if_no_python_code_gets_to_run() -> None:
    started = time.monotonic()
    assert outcomes(["sleep 300", "square 2"], seconds=1) == [Failure("reading it takes longer than 1 s"), 4]
    assert time.monotonic() - started < 100


@linux
def test_memory_is_limited() -> None:
    assert outcomes([f"memory {GIB // 2}", f"memory {2 * GIB}", f"memory {GIB // 4}"], 1) == [
        GIB // 2,
        Failure("reading it asks for more memory than it may have, 1 GiB at most"),
        GIB // 4,
    ]


def test_a_task_is_not_blamed_for_what_another_did_to_its_process() -> None:
    assert outcomes(["poison", "square 5", "square 6"], processes=1) == [None, 25, 36]


def test_children_live_on_and_end_with_their_consumer() -> None:
    pids = outcomes(["pid"] * 10, processes=2)
    assert len(set(pids)) <= 2 and os.getpid() not in pids
    results = in_children(call, ["square 2", "sleep 300"], [600, 600], GIB, 2)
    assert next(results) == (0, 4)
    results.close()
    assert multiprocessing.active_children() == []
