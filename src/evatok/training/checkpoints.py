"""Checkpoints of a run: written whole or not at all, the last few kept, each with the checksums of its files."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from evatok.training.reading import few, printable, read_json
from evatok.utils.files import write_json

FORMAT = 1
_NAME = re.compile(r"step_[0-9]+")
_SEAL = "checkpoint.json"


def checkpoint_step(folder: Path) -> int:
    """The step of a checkpoint's folder."""
    return int(folder.name.removeprefix("step_"))


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = [path for path in folder.glob("step_*") if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=checkpoint_step)


def seal(folder: Path) -> None:
    """Writes down the sizes and checksums of the files in a checkpoint's folder, so that damage is found by name."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.iterdir())
        if path.is_file()
    }
    write_json(folder / _SEAL, {"format": FORMAT, "files": files})


class Sealed:
    """A checkpoint whose files are as `seal` found them; which says nothing of who wrote them.

    Args:
        folder: of the checkpoint.

    Raises:
        ValueError: it has no seal that this version can read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.seal = folder, folder / _SEAL
        if not self.seal.exists() and (folder / "custom_checkpoint_0.pkl").exists():
            raise ValueError(
                f"{folder} is of an earlier evatok, which kept pickles; this one reads only the model in its `export`"
            )
        entries = read_json(self.seal)
        version = entries.get("format") if isinstance(entries, dict) else None
        if version != FORMAT:
            raise ValueError(f"{self.seal} has format {printable(version)}; this version of evatok reads {FORMAT}")
        self.files: dict[str, Any] = entries["files"] if isinstance(entries.get("files"), dict) else {}

    def path(self, name: str) -> Path:
        """The path of a file, which is as it was written; else ValueError."""
        path, entry = self.folder / name, self.files.get(name)
        if not isinstance(entry, dict):
            listed = few([printable(each) for each in self.files])
            raise ValueError(f"{self.seal} does not list {name}, but {listed or 'nothing'}")
        if not path.is_file():
            raise ValueError(f"{path} is missing")
        if (size := path.stat().st_size) != entry.get("bytes"):
            raise ValueError(f"{path} has {size} bytes, not the {printable(entry.get('bytes'))} of {self.seal.name}")
        if _sha256(path) != entry.get("sha256"):
            raise ValueError(f"{path} is damaged: its checksum is not that of {self.seal.name}")
        return path


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def making_checkpoint(folder: Path, step: int, keep: int) -> Iterator[Path]:
    """Gives a temporary folder, which becomes the checkpoint of a step when it is whole; all but the last `keep` go.

    What killed processes left is cleared away.

    Args:
        folder: of the run's checkpoints.
        step: that this one is of.
        keep: how many checkpoints are kept, this one included.

    Raises:
        OSError: it cannot be written; the sentence says why, and which checkpoint is the last one now.
    """
    for left in folder.glob(".step_*"):
        shutil.rmtree(left)
    final = folder / f"step_{step:08d}"
    temporary = folder / f".{final.name}.partial"
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch and safetensors have errors of their own for a disk that is full.
        shutil.rmtree(temporary, ignore_errors=True)
        earlier = checkpoints(folder)
        last = f"the last good one is {earlier[-1]}" if earlier else "there is no earlier one"
        raise OSError(f"cannot write checkpoint {final}: {_first_line(error)}; {last}") from error
    _remove(final)
    os.replace(temporary, final)
    for old in checkpoints(folder)[:-keep]:
        _remove(old)


def _remove(folder: Path) -> None:
    """Removes a checkpoint, which is gone by name before it is by content: never half of one is seen."""
    if folder.exists():
        nameless = folder.with_name(f".{folder.name}.removed")
        os.replace(folder, nameless)
        shutil.rmtree(nameless)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
