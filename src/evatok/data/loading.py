"""Batches in order, made by other processes. What befalls one of these ends the run, as it would have in this one."""

import atexit
import pickle
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from evatok.data.quarantine import Quarantine


def loader(dataset: Dataset[Any], items: Sequence[int], workers: int = 0) -> Iterator[Any]:
    """Items of a dataset, in the order given, made by that many processes (0: this).

    Videos that cannot be read are counted here, whichever process met them, in the `quarantines` of the dataset, if it
    has any, and named together at the end.

    Raises:
        ChildProcessError: one of the processes was killed, or crashed.
        OSError: they cannot be started.
        TooManyBadVideos: more videos of a source cannot be read than it allows.
        What the dataset raises; of errors that are neither ValueError nor OSError only the text survives.
    """
    quarantines: Sequence[Quarantine] = getattr(dataset, "quarantines", ())
    try:
        yield from _made_elsewhere(dataset, quarantines, items, workers) if workers else map(dataset.__getitem__, items)
    finally:
        for quarantine in quarantines:
            quarantine.sum_up()


@dataclass(frozen=True)
class _Made:
    """What a process made of an item, and the videos that it found bad meanwhile, of each quarantine."""

    batch: Any
    error: Exception | None
    failed: list[dict[str, str]]


@dataclass(frozen=True)
class _Telling(Dataset[_Made]):
    """A dataset that raises nothing: torch would put another text into an error, and hold on to what met it."""

    dataset: Dataset[Any]
    quarantines: Sequence[Quarantine]

    def __getitem__(self, item: int) -> _Made:
        known = [len(each.failed) for each in self.quarantines]
        batch, error = None, None
        try:
            batch = self.dataset[item]
        except Exception as met:
            error = _sendable(met)
        each_failed = zip(self.quarantines, known, strict=True)
        return _Made(batch, error, [dict(islice(each.failed.items(), count, None)) for each, count in each_failed])


def _made_elsewhere(
    dataset: Dataset[Any], quarantines: Sequence[Quarantine], items: Sequence[int], workers: int
) -> Iterator[Any]:
    batches: DataLoader[Any] = DataLoader(
        _Telling(dataset, quarantines),
        batch_size=None,
        sampler=items,
        num_workers=workers,
        collate_fn=_unchanged,
        prefetch_factor=4,
        worker_init_fn=_outlive_a_warning,
        generator=torch.Generator(),  # its own: the loader would otherwise draw from the global one
    )
    with _started(batches) as made_in_order:
        for made in made_in_order:
            for quarantine, failed in zip(quarantines, made.failed, strict=True):
                for path, reason in failed.items():
                    quarantine.add(path, reason)
            if made.error is not None:
                raise made.error
            yield made.batch


@contextmanager
def _started(batches: DataLoader[Any]) -> Iterator[Iterator[_Made]]:
    """The processes of a loader, which end with the block, or with this process if it never leaves the block."""
    # torch's handler of SIGCHLD would raise in the midst of whatever goes on here; who waits for a batch finds out too.
    handler = signal.getsignal(signal.SIGCHLD)
    try:
        iterator: Any = iter(batches)
    except OSError as error:
        raise OSError(f"cannot start {batches.num_workers} processes that make batches: {error.strerror}") from error
    if signal.getsignal(signal.SIGCHLD) is not handler:
        signal.signal(signal.SIGCHLD, handler or signal.SIG_DFL)

    def end() -> None:
        iterator._shutdown_workers()
        for worker in iterator._workers:
            worker.kill()  # which ends one that hangs; SIGTERM would not

    atexit.register(end)
    try:
        yield iterator
    except RuntimeError as error:
        codes = {worker.exitcode for worker in iterator._workers} - {0, None}
        if not codes:
            raise
        how = ", ".join(signal.Signals(-code).name if code < 0 else f"exit code {code}" for code in sorted(codes))
        raise ChildProcessError(
            f"a process that makes batches was killed or crashed ({how}); if memory ran out, or shared memory "
            "(/dev/shm), fewer workers need less"
        ) from error
    finally:
        end()
        atexit.unregister(end)


def _sendable(error: Exception) -> Exception:
    """An error that another process can raise: itself, with a note, if it is of a kind that is told in a sentence."""
    met = "".join(traceback.format_exception(error))
    if isinstance(error, ValueError | OSError):
        with suppress(Exception):  # some cannot be pickled, others not be made again
            error.add_note(f"This was in a process that makes batches:\n{met}")
            return pickle.loads(pickle.dumps(error))
    return RuntimeError(met)


def _unchanged(batch: Any) -> Any:
    return batch


def _outlive_a_warning(worker: int) -> None:
    """SIGTERM often goes to every process of a job; the run's own still needs batches until it has saved."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
