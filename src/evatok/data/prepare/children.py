"""Work on files that nobody vouches for, in child processes with limits: what ends a child is a result.

FFmpeg may crash, hang or take all memory on a broken file. Here that costs one child process, which is replaced.
"""

import multiprocessing
import resource
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

import torch

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

# Forking from a server that has everything imported starts a child in milliseconds. It is safe on Linux alone.
_CONTEXT: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")


@dataclass(frozen=True)
class Failure:
    """Why a task has no result."""

    reason: str


@dataclass(frozen=True)
class _Started:
    """What a child says first."""


@dataclass(frozen=True)
class _End(Failure):
    """Why a child has come to its end, or should."""

    blamed: bool = False  # the task is to blame for sure, whatever the child did before


def in_children(
    function: Callable[[TaskT], ResultT],
    tasks: Sequence[TaskT],
    seconds: Sequence[float],
    memory: int,
    processes: int,
) -> Generator[tuple[int, ResultT | Failure]]:
    """Call `function` on each task in child processes; gives each task's number and result as they come.

    A child that dies, takes longer than the task's `seconds` or needs more than `memory` gives a Failure, and so
    does an exception. A child that has done other tasks before may have died of those: then a new one does the
    task again, so that no result depends on what ran before. On leaving, no child is left.

    Args:
        function: importable by its name; its argument and result are pickled.
        tasks: what to call it with.
        seconds: of wall-clock time, for each task.
        memory: bytes of address space of a child, beyond what it starts with.
        processes: number of children at a time.

    Raises:
        ChildProcessError: a child cannot be started, or died before its first task.
    """
    todo = deque(range(len(tasks)))
    children: dict[Connection, _Child] = {}

    def start(number: int) -> None:
        child = _Child(function, memory)
        children[child.connection] = child
        child.give(number, tasks[number], seconds[number])

    try:
        while todo and len(children) < processes:
            start(todo.popleft())
        while children:
            for ready in wait(list(children)):
                child = children[ready]  # type: ignore[index]
                outcome = child.receive()
                if isinstance(outcome, _Started):
                    continue
                number, ended = child.number, isinstance(outcome, _End)
                if ended or not todo:
                    children.pop(child.connection).kill()
                if isinstance(outcome, _End) and child.done and not outcome.blamed:
                    start(number)
                    continue
                yield number, Failure(outcome.reason) if isinstance(outcome, _End) else outcome
                if ended and todo:
                    start(todo.popleft())
                elif todo:
                    child.done += 1
                    number = todo.popleft()
                    child.give(number, tasks[number], seconds[number])
    finally:
        for child in children.values():
            child.kill()


class _Child:
    """A child process and the number of the task that it is at."""

    def __init__(self, function: Callable[[Any], Any], memory: int) -> None:
        if _CONTEXT.get_start_method() == "forkserver":
            _CONTEXT.set_forkserver_preload([__name__, function.__module__])
        self.connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, function, memory), daemon=True)
        try:
            self._process.start()
        except OSError as error:
            raise ChildProcessError(f"a child process cannot be started: {error.strerror or error}") from error
        theirs.close()
        self._started = False
        self._seconds = 0.0
        self.number = -1
        self.done = 0  # tasks before this one

    def give(self, number: int, task: Any, seconds: float) -> None:
        self.number, self._seconds = number, seconds
        try:
            self.connection.send((task, seconds))
        except OSError:
            return  # it is dead, which `receive` will tell

    def receive(self) -> Any:
        """What came of the task; _Started if that is to come, an _End if the child is not to be used any more."""
        try:
            value = self.connection.recv()
        except (EOFError, OSError):
            return self._end()
        self._started = True
        return value

    def _end(self) -> _End:
        self._process.join()
        code = self._process.exitcode
        if not self._started:
            raise ChildProcessError(f"a child process died when it was started (exit code {code})")
        if code == -signal.SIGALRM:
            return _End(f"reading it takes longer than {self._seconds:.0f} s", blamed=True)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return _End(f"reading it ends the process that does so ({how})")

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self.connection.close()


def _serve(connection: Connection, function: Callable[[Any], Any], memory: int) -> None:
    """What a child does: tasks, one after the other, until the parent closes its end or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent sees to it
    # The kernel's default action on SIGALRM ends a process even where no Python code gets to run.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    torch.set_num_threads(1)  # each thread reserves address space
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(memory)
    _say(connection, _Started())
    while True:
        try:
            task, seconds = connection.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, seconds)
        outcome = _outcome(function, task, memory)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say(connection, outcome)


def _say(connection: Connection, value: Any) -> None:
    try:
        connection.send(value)
    except OSError:
        sys.exit()  # nobody listens


def _outcome(function: Callable[[Any], Any], task: Any, memory: int) -> Any:
    try:
        return function(task)
    except Exception as error:
        # PyTorch and some of FFmpeg's own say it in words alone.
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            return _End(f"reading it asks for more memory than it may have, {memory / 2**30:.3g} GiB at most")
        return Failure(f"{type(error).__name__}: {error}")


def _limit_memory(memory: int) -> None:
    size = Path("/proc/self/statm")
    if not size.exists():
        return
    most = int(size.read_text().split()[0]) * resource.getpagesize() + memory
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
