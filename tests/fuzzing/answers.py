"""What comes of a stranger's input in a child process: it is read, it is refused in one sentence, or a fault shows.

A family is a module that makes originals (`prepare`), puts a damaged one into a folder (`place`), and does with it what
a user would (`use`, which gives the names of what it wrote there). Input `number` is a function of seed and number.
"""

import os
import shutil
import time
import traceback
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

import numpy as np

from benchmarks.children import peak_memory, restart_peak_memory
from evatok.data.prepare.children import Failure, in_children
from evatok.data.prepare.scanning import ScanConfig
from evatok.utils.packages import PackageError
from tests.fuzzing import checkpoints, configs, encoding, lists, models, token_files

Kind = Literal["read", "refused", "traceback", "too long", "too much memory", "death"]
# What the command line says in one sentence.
REFUSALS = (ValueError, OSError, PackageError, FloatingPointError, ArgumentError)
LONGEST, MOST_LINES = 600, 3  # of a sentence, apart from paths of the test's own


class Family(Protocol):
    """A kind of input, and the names of the ways in which it is damaged."""

    @property
    def KINDS(self) -> Mapping[str, Any]: ...

    def prepare(self, folder: Path) -> None: ...

    def place(self, folder: Path, target: Path, kind: str, rng: np.random.Generator) -> None: ...

    def use(self, folder: Path, target: Path) -> set[str]: ...


FAMILIES: dict[str, Family] = {
    "token files": token_files,
    "configs": configs,
    "models": models,
    "checkpoints": checkpoints,
    "lists": lists,
    "encoding": encoding,
}


@dataclass(frozen=True)
class Input:
    """One input.

    Args:
        family: its name.
        folder: of the family's originals.
        seed: of all inputs.
        number: which of them.
    """

    family: str
    folder: str
    seed: int
    number: int

    @property
    def kind(self) -> str:
        """How it is damaged."""
        kinds = list(FAMILIES[self.family].KINDS)
        return kinds[self.number % len(kinds)]

    @property
    def target(self) -> Path:
        """The folder that it is put into."""
        return Path(self.folder).with_name(f"{self.number:05d}")

    def place(self, target: Path) -> None:
        """Makes it."""
        target.mkdir()
        rng = np.random.default_rng([self.seed, self.number])
        FAMILIES[self.family].place(Path(self.folder), target, self.kind, rng)


@dataclass(frozen=True)
class Answer:
    """What came of an input.

    Args:
        kind: of the answer.
        told: the sentence, or where the fault is.
        memory: bytes that it took at most over what the child had before.
        seconds: that it took.
        left: what was written and should not be there, or should be and is not.
    """

    kind: Kind
    told: str = ""
    memory: int = 0
    seconds: float = 0.0
    left: tuple[str, ...] = ()


def answer_to(given: Input) -> Answer:
    """What a child does with an input."""
    _warm(given.family, given.folder)
    target = given.target
    shutil.rmtree(target, ignore_errors=True)  # of a child that ended
    given.place(target)
    before = _names(target)
    held, started = restart_peak_memory(), time.perf_counter()
    kind, told, made = _used(given, target)
    memory, seconds = peak_memory() - held, time.perf_counter() - started
    own = {name for name in _names(target) if not made.isdisjoint([name, *map(str, PurePosixPath(name).parents)])}
    missing = {name for name in made if not (target / name).exists()}
    left = (_names(target) - before - own) | missing
    shutil.rmtree(target)
    return Answer(kind, told, memory, seconds, tuple(sorted(left)))


def _used(given: Input, target: Path) -> tuple[Kind, str, set[str]]:
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        try:
            return "read", "", FAMILIES[given.family].use(Path(given.folder), target)
        except Exception as error:
            sentence = str(error).replace(str(target), "…")
            if isinstance(error, MemoryError) or "allocate memory" in sentence:
                return "too much memory", sentence, set()
            if isinstance(error, REFUSALS) and 0 < len(sentence) <= LONGEST and sentence.count("\n") < MOST_LINES:
                return "refused", f"{type(error).__name__}: {sentence}", set()
            where = traceback.extract_tb(error.__traceback__)
            told = "; ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in where[-4:])
            return "traceback", f"{type(error).__name__} at {told}: {sentence[:300]}", set()


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@cache
def _warm(family: str, folder: str) -> None:
    """Has imports, models and all else that comes once made, so that it is not an input's."""
    first = Input(family, folder, 0, 0)
    assert first.kind == "unchanged"
    target = Path(folder).with_name(f"warm-{os.getpid()}")
    first.place(target)
    _used(first, target)
    shutil.rmtree(target)


def inputs(family: str, folder: Path, seed: int, count: int) -> list[Input]:
    """The first `count` inputs of a family by a seed; `folder` is for them."""
    originals = folder / "originals"
    originals.mkdir(parents=True)
    FAMILIES[family].prepare(originals)
    return [Input(family, str(originals), seed, number) for number in range(count)]


def answers(given: Sequence[Input], config: ScanConfig) -> list[Answer]:
    """The answers to inputs, in child processes with limits."""
    seconds = [config.seconds] * len(given)
    found = dict(in_children(answer_to, given, seconds, config.memory, config.processes or 1))
    return [ended(each) if isinstance(each := found[number], Failure) else each for number in range(len(given))]


def ended(failure: Failure) -> Answer:
    """The answer to an input that ended a child, or to one that could not be made."""
    kinds: dict[str, Kind] = {"takes longer": "too long", "asks for more": "too much memory", "ends the": "death"}
    for words, kind in kinds.items():
        if failure.reason.startswith(f"reading it {words}"):
            return Answer(kind, failure.reason)
    return Answer("traceback", failure.reason)
