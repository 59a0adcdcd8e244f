"""A run that is told to stop: SIGTERM, as schedulers send it before they kill."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Stopped(Exception):
    """A run was told to stop and has saved what it had; `--resume` goes on."""


class StopSignal:
    """Notices SIGTERM instead of dying of it, within a `with` block.

    Only a program's main thread can catch signals; in any other one nothing is caught.
    """

    def __init__(self) -> None:
        self.received = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
