"""An evaluation with all that makes its numbers, as it is kept in `evaluation.json`."""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

import evatok
from evatok.evaluation.equal_bits import CodecResult
from evatok.evaluation.scores import ReconstructionResult
from evatok.utils.configs import from_dict
from evatok.utils.files import write_text

FORMAT = 1


class RecordError(ValueError):
    """A file that should hold a record and does not."""


@dataclass(frozen=True)
class EvaluatedSource:
    """A source of the clips that were evaluated.

    Args:
        name: its name in the result.
        config: the fields of its config.
        clips: number of clips.
        keys_sha256: `keys_digest` of the clips' keys, which say video, first frame and step.
    """

    name: str
    config: dict[str, Any]
    clips: int
    keys_sha256: str


@dataclass(frozen=True)
class EvaluationRecord:
    """A result and what it takes to get it again.

    Args:
        tokenizer: name of the tokenizer.
        checksum: of its weights.
        command: the command line.
        date: when it was run, in UTC, as ISO 8601 has it.
        split: what the clips were to the tokenizer, such as "validation".
        sources: where the clips come from.
        frames: frames of a clip.
        frame_step: distance between them, in frames of the source.
        size: height and width of the clips.
        seed: of the frames at which clips start.
        lpips_net: the network of LPIPS.
        credits: whom to name for the data.
        versions: versions of evatok and torch.
        commit: of evatok's sources, "-dirty" added where they differ from it; None outside a checkout.
        result: the numbers.
        x264: those of x264 at no more bits; None where it was not asked for, or not known when this was written.
    """

    OLD_NAMES: ClassVar[dict[str, str]] = {"network": "lpips_net"}

    tokenizer: str
    checksum: str
    command: str
    date: str
    split: str
    sources: tuple[EvaluatedSource, ...]
    frames: int
    frame_step: int
    size: tuple[int, int]
    seed: int
    lpips_net: str
    credits: tuple[str, ...]
    versions: dict[str, str]
    commit: str | None
    result: ReconstructionResult
    x264: CodecResult | None = None

    def write(self, path: Path) -> None:
        """Writes the record as JSON."""
        write_text(path, json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a file that `write` wrote; RecordError for any other."""
        entries = read_json(path)
        if entries.pop("format", None) != FORMAT:
            raise RecordError(f"{path} is no evaluation of format {FORMAT}, which this version of evatok reads")
        try:
            return from_dict(cls, entries)
        except (TypeError, ValueError) as error:
            raise RecordError(f"{path} is not what an evaluation writes: {error}") from error


def provenance() -> dict[str, Any]:
    """Command, date (UTC), versions and commit of this run, under the names that `EvaluationRecord` has for them."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"evatok": evatok.__version__, "torch": torch.__version__},
        "commit": commit_of(Path(evatok.__file__).parent),
    }


def keys_digest(keys: Sequence[str]) -> str:
    """SHA-256 of the keys of clips, a line each, in hexadecimal."""
    return hashlib.sha256("".join(f"{key}\n" for key in keys).encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; RecordError where there is none."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}") from error
    if not isinstance(entries, dict):
        raise RecordError(f"{path} holds no JSON object")
    return entries


def commit_of(package: Path) -> str | None:
    """The commit of a package's sources, "-dirty" added where they differ; None outside a git checkout."""
    # An installed package may lie inside somebody else's checkout: only files that git knows count.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
