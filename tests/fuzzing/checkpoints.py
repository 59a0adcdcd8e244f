"""Folders of a run, files of them damaged, mostly with a seal that fits; the run goes on for a step."""

import json
import shutil
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from evatok.training.checkpoints import checkpoints, seal
from tests.fuzzing import damage, weights
from tests.fuzzing.damage import Rng
from tests.toy import last, run

_SEALED = 0.8  # share of damage to files under seal that the seal is made to fit


class Kind(NamedTuple):
    """What files are damaged, from the run's folder or from that of a checkpoint, and how; None removes them."""

    files: tuple[str, ...]
    change: damage.Damage | None


def prepare(folder: Path) -> None:
    """A run of 4 steps, with checkpoints at 2 and 4."""
    with redirect_stderr(StringIO()):  # its bar
        run(folder / "run", 4)
    shutil.rmtree(folder / "run" / "final")


def place(folder: Path, target: Path, kind: str, rng: Rng) -> None:
    """The run with damage to one file or two."""
    shutil.copytree(folder / "run", target / "run")
    for _ in range(int(rng.integers(1, 3))):
        several = checkpoints(target / "run" / "checkpoints")
        checkpoint = several[-1] if rng.random() < 0.8 else several[0]
        files, change = KINDS[kind]
        found = sorted(path for name in files for path in (*checkpoint.glob(name), *(target / "run").glob(name)))
        if not found:
            return
        path: Path = damage.pick(found, rng)
        if change is None:
            path.unlink()
        else:
            path.write_bytes(change(path.read_bytes(), rng))
        if path.parent == checkpoint and path.name != "checkpoint.json" and rng.random() < _SEALED:
            seal(checkpoint)


def use(folder: Path, target: Path) -> set[str]:
    """Resumes the run; refused, it is as it was."""
    before = _contents(target)
    try:
        run(target / "run", 5, resume=True)
    except ValueError:
        assert _contents(target) == before
        raise
    assert last(target / "run").name == "step_00000005"
    kept = [f"run/checkpoints/{path.name}" for path in checkpoints(target / "run" / "checkpoints")]
    return {"run/config.json", "run/final", *kept}


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _document(change: damage.Change) -> damage.Damage:
    def change_document(data: bytes, rng: Rng) -> bytes:
        try:
            return damage.json_text(change(json.loads(data), rng))
        except (ValueError, RecursionError):  # damaged already
            return damage.damaged(data, rng)

    return change_document


def _weights(change: damage.Damage) -> damage.Damage:
    def change_weights(data: bytes, rng: Rng) -> bytes:
        try:
            return change(data, rng)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):  # damaged already
            return damage.damaged(data, rng)

    return change_weights


_PROGRESS, _SEAL, _CONFIG, _WEIGHTS = ("progress.json",), ("checkpoint.json",), ("config.json",), ("*.safetensors",)
KINDS: dict[str, Kind] = {
    "unchanged": Kind(_CONFIG, damage.unchanged),
    "bytes": Kind((*_PROGRESS, *_SEAL, *_CONFIG, *_WEIGHTS), damage.damaged),
    "files gone": Kind((*_PROGRESS, *_SEAL, *_CONFIG, *_WEIGHTS), None),
    **{f"progress: {name}": Kind(_PROGRESS, _document(change)) for name, change in damage.CHANGES.items()},
    **{f"seal: {name}": Kind(_SEAL, _document(change)) for name, change in damage.CHANGES.items()},
    **{f"config: {name}": Kind(_CONFIG, _document(change)) for name, change in damage.CHANGES.items()},
    **{f"weights: {name}": Kind(_WEIGHTS, _weights(change)) for name, change in weights.KINDS.items()},
}
