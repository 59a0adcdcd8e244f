"""What the command line has to do with its process: signals that tell it to end, and streams that nobody reads."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from evatok.utils.files import reason
from evatok.utils.texts import shortened

# As shells have it, a process that a signal ends has this exit code and the signal's number.
BY_SIGNAL = 128
NOBODY_READS = BY_SIGNAL + 13  # SIGPIPE
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


@contextmanager
def raised_signals() -> Iterator[list[int]]:
    """Lets signals that end a process raise exceptions instead, so that what is half done is tidied up.

    Gives the numbers of those that came: what a library makes of an exception may be another one. While it is being
    tidied up, only SIGINT counts again. A signal that is ignored stays so (`nohup`), and outside of a program's main
    thread nothing is caught.
    """
    came: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if _torch_is_being_imported():  # no work has begun that would have to be tidied up
            sentence, code = by_signal(number)
            complain(sentence)
            os._exit(code)
        came.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if len(came) == 1:
            sys.exit(BY_SIGNAL + number)

    before = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, receive)
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def by_signal(number: int) -> tuple[str, int]:
    """What is said of a signal that ended a command, and the exit code."""
    what = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    return what, BY_SIGNAL + number


def _torch_is_being_imported() -> bool:
    """Whether torch's import is going on, which makes of an exception whatever it likes, even an abort."""
    return getattr(getattr(sys.modules.get("torch"), "__spec__", None), "_initializing", False)


def ready_streams() -> None:
    """Opens standard streams that are closed, lest a file gets their number, and lets any name be printed."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def nobody_reads() -> bool:
    """Whether it is for want of a reader that nothing can be printed any more."""
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BrokenPipeError:
        return True
    return False


def flushed(code: int) -> int:
    """Writes out what has been printed; the exit code, which is another one where that fails."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            # Or the interpreter would try again when it ends, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if isinstance(error, BrokenPipeError):
                code = NOBODY_READS
            else:
                complain(f"cannot write what was to be printed: {reason(error)}")
                code = code or 1
    return code


def complain(sentence: str) -> None:
    """Prints what went wrong on one line, if anybody reads it."""
    with suppress(OSError):
        print(f"evatok: {shortened(' '.join(sentence.splitlines()), 1000)}", file=sys.stderr)
