"""Checkpoints of a run: written whole or not at all, the last few kept."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

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


def write_checkpoint(folder: Path, step: int, keep: int, write: Callable[[Path], None]) -> Path:
    """Lets `write` fill a temporary folder, renames it to `step_N`, and removes all but the last `keep`."""
    final, temporary = folder / f"step_{step:08d}", folder / f".step_{step:08d}.partial"
    for path in (temporary, final):
        if path.exists():
            shutil.rmtree(path)
    temporary.mkdir(parents=True)
    write(temporary)
    os.replace(temporary, final)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return final
