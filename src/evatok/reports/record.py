"""An evaluation with all that makes its numbers, as it is kept in `evaluation.json`."""

import hashlib
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from evatok.evaluation.equal_bits import CodecResult
from evatok.evaluation.scores import ReconstructionResult
from evatok.training.versions import commit, versions
from evatok.utils.configs import from_dict
from evatok.utils.files import reason, write_json

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
        write_json(path, {"format": FORMAT, **asdict(self)})

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
        "command": shlex.join([*_program(), *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "commit": commit(),
    }


def _program() -> list[str]:
    name = Path(sys.argv[0]).name
    return ["python", "-m", "evatok"] if name == "__main__.py" else [name]


def keys_digest(keys: Sequence[str]) -> str:
    """SHA-256 of the keys of clips, a line each, in hexadecimal."""
    return hashlib.sha256("".join(f"{key}\n" for key in keys).encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; RecordError where there is none."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {reason(error)}") from error
    if not isinstance(entries, dict):
        raise RecordError(f"{path} holds no JSON object")
    return entries
