"""Models on disk: `model.safetensors` with `config.json` beside it, in a folder, a package or on a hub."""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from evatok.utils.files import replacing, write_text

FORMAT = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"
ConfigT = TypeVar("ConfigT")


class CheckpointError(ValueError):
    """A folder, name or file that holds no model of the kind that is asked for."""


@dataclass(frozen=True)
class Kind(Generic[ConfigT]):
    """A kind of saved model: what it is called here and in its file, and its config.

    Args:
        noun: such as "tokenizer".
        mark: what `config.json` names it.
        config: the class of its config.
    """

    noun: str
    mark: str
    config: type[ConfigT]

    @property
    def shipped(self) -> tuple[str, ...]:
        """Names of the models of this kind that come with the package."""
        folder = files("evatok") / "weights"
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name) if folder.is_dir() else []
        return tuple(entry.name for entry in entries if _mark(Path(str(entry))) == self.mark)

    def find(self, name: str | Path) -> Path:
        """The folder of a model: a shipped name, a folder, or the id of a hub's repository, which is downloaded.

        Raises:
            CheckpointError: if it is none of these.
        """
        if Path(name).is_dir():
            return Path(name)
        if str(name) in self.shipped:
            return Path(str(files("evatok") / "weights" / str(name)))
        if str(name).count("/") != 1 or str(name).startswith((".", "/", "~")):
            raise CheckpointError(
                f"{name} is no folder and no shipped {self.noun}; shipped are: {', '.join(self.shipped)}"
            )
        return _download(str(name), f"no shipped {self.noun} ({', '.join(self.shipped)})")

    def write(self, folder: Path, config: ConfigT, weights: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        """Writes config and weights (floating point ones as `dtype`), each to a temporary name first."""
        folder.mkdir(parents=True, exist_ok=True)
        stored = {name: weight.detach().to("cpu", dtype).contiguous() for name, weight in weights.items()}
        entries = {"kind": self.mark, "format": FORMAT, "config": asdict(config)}  # type: ignore[call-overload]
        with replacing(folder / WEIGHTS) as temporary:
            save_file(stored, temporary, metadata={"format": "pt"})
        write_text(folder / CONFIG, json.dumps(entries, indent=2) + "\n")

    def read_config(self, folder: Path) -> ConfigT:
        """The config of a saved model; `CheckpointError` where there is none that this version can read."""
        try:
            entries = json.loads((folder / CONFIG).read_text())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder / CONFIG} cannot be read: {error}") from error
        kind, version = (entries.get(key) for key in ("kind", "format")) if isinstance(entries, dict) else (None, None)
        if kind != self.mark:
            raise CheckpointError(f"{folder / CONFIG} is no {self.noun}'s config: its kind is {kind!r}")
        if version != FORMAT:
            raise CheckpointError(f"{folder} has format {version}; this version of evatok reads format {FORMAT}")
        try:
            return _from_dict(self.config, entries["config"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder / CONFIG} does not fit: {error}") from error


def _mark(folder: Path) -> str | None:
    try:
        entries = json.loads((folder / CONFIG).read_text())
        return str(entries["kind"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _download(name: str, nor: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=[WEIGHTS, CONFIG, "router/*"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{name} is no folder, {nor}, and the hub gave nothing: {reason}") from error


def _from_dict(kind: type[ConfigT], entries: Mapping[str, Any]) -> ConfigT:
    """A config dataclass out of what `asdict` and JSON made of it; what an older version lacked is the default."""
    known = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(entries) - set(known)):
        raise ValueError(f"{kind.__name__} does not know {unknown}")
    values: dict[str, Any] = {}
    for name, value in entries.items():
        nested = [kind for kind in get_args(known[name]) or (known[name],) if is_dataclass(kind)]
        if nested and value is not None:
            values[name] = _from_dict(_kind_of(value, nested), value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _kind_of(entries: Mapping[str, Any], kinds: list[Any]) -> Any:
    """The first config dataclass that knows all of these values; the first of all where none does."""
    return next((kind for kind in kinds if {field.name for field in fields(kind)} >= set(entries)), kinds[0])


def read_weights(folder: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a saved model as float32; `CheckpointError` with the differing names if they do not fit."""
    try:
        found = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder / WEIGHTS} cannot be read: {error}") from error
    shapes = {name: tuple(weight.shape) for name, weight in found.items()}
    wanted = {name: tuple(weight.shape) for name, weight in expected.items()}
    if shapes != wanted:
        missing, unknown = sorted(wanted.keys() - shapes.keys()), sorted(shapes.keys() - wanted.keys())
        other = sorted(name for name in shapes.keys() & wanted.keys() if shapes[name] != wanted[name])
        raise CheckpointError(
            f"{folder / WEIGHTS} does not fit its config: missing {missing}, unknown {unknown}, other shapes {other}"
        )
    # Copied: a file's own memory lies at odd addresses, where some CPUs round products differently.
    return {name: weight.to(torch.float32, copy=True) for name, weight in found.items()}


def checksum(weights: Mapping[str, Tensor]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of all weights, by name, as float32."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = weights[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(name.encode() + struct.pack(f"<{values.ndim}q", *values.shape))
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:16]
