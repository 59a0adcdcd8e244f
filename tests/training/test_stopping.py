"""SIGTERM within a run."""

import os
import signal
import threading

from evatok.training.stopping import StopSignal


def test_sigterm_is_noticed_within_the_block_and_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        assert not stop.received
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_leave_signals_alone() -> None:
    before, received = signal.getsignal(signal.SIGTERM), []

    def run() -> None:
        with StopSignal() as stop:
            received.append((stop.received, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert received == [(False, before)]
