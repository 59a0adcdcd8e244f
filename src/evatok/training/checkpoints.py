"""Checkpoints of a run: written whole or not at all, the last few kept."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

_NAME = re.compile(r"step_(\d+)$")


def checkpoint_step(folder: Path) -> int:
    """The step of a checkpoint's folder."""
    match = _NAME.search(folder.name)
    if match is None:
        raise ValueError(f"a checkpoint's folder is named step_N, got {folder}")
    return int(match.group(1))


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = [path for path in folder.glob("step_*") if path.is_dir() and _NAME.search(path.name)]
    return sorted(found, key=checkpoint_step)


class CheckpointWriter:
    """One checkpoint under way: a temporary folder is filled, takes its name when it is whole, and old ones go.

    Args:
        folder: of the run's checkpoints.
        step: that this one is of.
        keep: how many checkpoints are kept, this one included.
    """

    def __init__(self, folder: Path, step: int, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self.final = folder / f"step_{step:08d}"
        self.temporary = folder / f".{self.final.name}.partial"

    def open(self) -> None:
        """Makes the temporary folder, and clears away what a killed process left."""
        for left in self.folder.glob(".step_*"):
            shutil.rmtree(left)
        self.temporary.mkdir(parents=True)

    def fill(self, write: Callable[[Path], object]) -> None:
        """Lets `write` fill the temporary folder.

        Raises:
            OSError: it cannot be written; the sentence says why, and which checkpoint is the last one now.
        """
        try:
            write(self.temporary)
        except (OSError, RuntimeError, SafetensorError) as error:
            # torch and safetensors have errors of their own for a disk that is full.
            shutil.rmtree(self.temporary, ignore_errors=True)
            left = checkpoints(self.folder)
            last = f"the last good one is {left[-1]}" if left else "there is no earlier one"
            raise OSError(f"cannot write checkpoint {self.final}: {_first_line(error)}; {last}") from error

    def close(self) -> None:
        """Gives the checkpoint its name and removes all but the last `keep`."""
        _remove(self.final)
        os.replace(self.temporary, self.final)
        for old in checkpoints(self.folder)[: -self.keep]:
            _remove(old)


def _remove(folder: Path) -> None:
    """Removes a checkpoint, which is gone by name before it is by content: never half of one is seen."""
    if folder.exists():
        nameless = folder.with_name(f".{folder.name}.removed")
        os.replace(folder, nameless)
        shutil.rmtree(nameless)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
