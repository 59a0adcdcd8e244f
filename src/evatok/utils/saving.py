"""Models on disk: `model.safetensors` with `config.json` beside it, in a folder, a package or on a hub."""

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from evatok.utils.configs import from_dict, to_dict
from evatok.utils.files import reason, replacing, write_json
from evatok.utils.texts import shortened

FORMAT = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"
# Bytes of a config, and of a file of weights before the first of them. Ours have 10 KB and 20 KB.
MOST_CONFIG, MOST_HEADER = 2**20, 2**22
# As safetensors names what weights may be stored as.
_DTYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
ConfigT = TypeVar("ConfigT")
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class CheckpointError(ValueError):
    """A folder, name or file that holds no model of the kind that is asked for; says why in one sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(shortened(sentence))


@dataclass(frozen=True)
class Kind(Generic[ConfigT]):
    """A kind of saved model: what it is called here and in its file, and its config.

    Args:
        noun: such as "tokenizer".
        mark: what its config's file names it.
        config: the class of its config.
        file: the config's.
        parts: of a hub's repository, besides the files of the model itself.
    """

    noun: str
    mark: str
    config: type[ConfigT]
    file: str = CONFIG
    parts: tuple[str, ...] = ("router/*",)

    @property
    def shipped(self) -> tuple[str, ...]:
        """Names of the models of this kind that come with the package."""
        folder = _shipped()
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name) if folder.is_dir() else []
        return tuple(entry.name for entry in entries if self._is(entry))

    def ships(self, name: str | PurePosixPath) -> bool:
        """Whether a model comes with the package by this name, or as a part of another, such as `model/part`."""
        return self._is(Path(_shipped(), name))

    def find(
        self, name: str | Path, subfolder: str = "", revision: str | None = None, token: str | bool | None = None
    ) -> Path:
        """The folder of a model, as `SavedModel.from_pretrained` says.

        Raises:
            CheckpointError: there is none by that name.
        """
        if Path(name).is_dir():
            return Path(name, subfolder)
        if self.ships(PurePosixPath(name, subfolder)):
            return Path(_shipped(), name, subfolder)
        if str(name).count("/") != 1 or str(name).startswith((".", "/", "~")):
            raise CheckpointError(
                f"{PurePosixPath(name, subfolder)} is no folder and no shipped {self.noun}; "
                f"shipped are: {', '.join(self.shipped)}"
            )
        nor = f"no shipped {self.noun} ({', '.join(self.shipped)})"
        wanted = dict.fromkeys((WEIGHTS, CONFIG, self.file, *self.parts))
        return _download(str(name), subfolder, list(wanted), revision, token, nor)

    def write(self, folder: Path, config: ConfigT, weights: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        """Writes config and weights (floating point ones as `dtype`), each to a temporary name first."""
        folder.mkdir(parents=True, exist_ok=True)
        stored = {name: weight.detach().to("cpu", dtype).contiguous() for name, weight in weights.items()}
        entries = {"kind": self.mark, "format": FORMAT, "config": to_dict(config)}
        with replacing(folder / WEIGHTS) as temporary:
            # Not `save_file`: it has a temporary file of its own, and errors that are not the system's.
            temporary.write_bytes(save(stored, metadata={"format": "pt"}))
        write_json(folder / self.file, entries)

    def _is(self, folder: Path) -> bool:
        """Whether a folder has a config of this kind."""
        try:
            return bool(json.loads((folder / self.file).read_text())["kind"] == self.mark)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def read_config(self, folder: Path) -> ConfigT:
        """The config of a saved model; `CheckpointError` where there is none that this version can read."""
        try:
            entries = read_json(folder / self.file)
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{folder / self.file} cannot be read: {reason(error)}") from error
        kind, version = (entries.get(key) for key in ("kind", "format")) if isinstance(entries, dict) else (None, None)
        if kind != self.mark:
            raise CheckpointError(f"{folder / self.file} is no {self.noun}'s config: its kind is {kind!r:.80}")
        if version != FORMAT:
            raise CheckpointError(f"{folder} has format {version!s:.80}; this version of evatok reads format {FORMAT}")
        try:
            return from_dict(self.config, entries["config"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder / self.file} does not fit: {error}") from error


class SavedModel(nn.Module, Generic[ConfigT]):
    """A model that is saved to a folder and loaded from one, and whose weights have a name of their own, `checksum`.

    A subclass has a `KIND`, is made of a config alone, and keeps it as `config`.
    """

    # Not huggingface_hub's PyTorchModelHubMixin: it lets missing and unknown weights pass, falls back to pickles, and
    # knows no shipped models, subfolders, dtypes; with these written for it, one call to the hub would be left of it.

    KIND: ClassVar[Kind[Any]]
    config: ConfigT
    name: str = "unnamed"
    # Of the weights, and how they looked when it was taken.
    _checksum: str = ""
    _look: int | None = None

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        revision: str | None = None,
        subfolder: str = "",
        token: str | bool | None = None,
    ) -> Self:
        """Loads a folder that `save_pretrained` wrote, a shipped model by its name, or a hub's repository.

        Args:
            name: the folder, the name, or the repository as `owner/name`, which is downloaded.
            dtype: of the weights, whatever the file's is.
            device: where the whole model goes.
            revision: branch, tag or commit of a hub's repository.
            subfolder: where in the folder or the repository the model is.
            token: for a hub's repository; None is the one that `hf auth login` has stored.

        Returns:
            The model in evaluation mode.

        Raises:
            CheckpointError: a ValueError that says what is missing or does not fit.
        """
        folder = cls.KIND.find(name, subfolder, revision, token)
        config = cls.KIND.read_config(folder)
        with torch.device("meta"):
            model = cls(config).eval()
        weights = read_weights(folder, model.state_dict())
        model.load_state_dict(weights, assign=True)
        model.name = folder.resolve().name if Path(name).is_dir() else str(PurePosixPath(name, subfolder))
        model._load_parts(folder)
        model = model.to(device, dtype)
        model._set_checksum(weights_digest(weights))
        return model

    def _load_parts(self, folder: Path) -> None:
        """Loads what a subclass keeps in the folder beside its weights."""

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Writes `model.safetensors`, its numbers as `dtype`, and `config.json` into a folder."""
        weights = self.state_dict()
        self.KIND.write(Path(folder), self.config, weights, dtype)
        self._set_checksum(weights_digest(weights))

    def push_to_hub(self, repository: str, *, private: bool = False, dtype: torch.dtype = torch.float32) -> str:
        """Uploads what `save_pretrained` writes to a hub's repository `owner/name`; returns its address."""
        from tempfile import TemporaryDirectory

        from huggingface_hub import HfApi

        api = HfApi()
        url = api.create_repo(repository, private=private, exist_ok=True)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, dtype)
            api.upload_folder(repo_id=repository, folder_path=folder)
        return str(url)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    @property
    def checksum(self) -> str:
        """Sixteen hexadecimal digits that say which weights these are: the first of their SHA-256 as float32.

        It is taken when weights are loaded from or saved to a folder, or else when it is first asked for, and stays
        through any change of the whole model's dtype and device. It is taken anew once weights have changed, however
        they did: whenever it is asked for they are looked at, which takes half a millisecond for two million of them.
        """
        if self._look != _look(self.state_dict().values()):
            self._set_checksum(weights_digest(self.state_dict()))
        return self._checksum

    def _set_checksum(self, checksum: str) -> None:
        self._checksum, self._look = checksum, _look(self.state_dict().values())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `cuda` and the like come to: the checksum stays."""
        known = self._look is not None and self.checksum
        super()._apply(fn, recurse)
        if known:
            self._set_checksum(known)
        return self


def _shipped() -> Path:
    return Path(str(files("evatok"))) / "weights"


def _download(
    name: str, subfolder: str, parts: Sequence[str], revision: str | None, token: str | bool | None, nor: str
) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = [str(PurePosixPath(subfolder, file)) for file in parts]
    try:
        return Path(snapshot_download(name, revision=revision, token=token, allow_patterns=wanted), subfolder)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{name} is no folder, {nor}, and the hub gave nothing: {said}") from error


def read_json(path: Path) -> Any:
    """What a file of a config's size holds as JSON; ValueError, for numbers that are not finite too."""

    def finite(text: str) -> float:
        if not math.isfinite(number := float(text)):
            raise ValueError(f"it has the number {text:.80}")
        return number

    if path.stat().st_size > MOST_CONFIG:
        raise ValueError(f"it has {path.stat().st_size} bytes; a config may have {MOST_CONFIG}")
    return json.loads(path.read_text(encoding="utf-8"), parse_float=finite, parse_constant=finite)


def read_weights(folder: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a saved model as float32; `CheckpointError` if they do not fit or are not finite, with names."""
    path = folder / WEIGHTS
    try:
        with path.open("rb") as start:
            header = int.from_bytes(start.read(8), "little")
        if header > MOST_HEADER:
            raise CheckpointError(f"{path} cannot be read: its header has {header} bytes, not at most {MOST_HEADER}")
        with safe_open(path, "pt") as file:
            stored = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            _check_names(path, {name: tuple(each.get_shape()) for name, each in stored.items()}, expected)
            if odd := sorted(name for name, each in stored.items() if each.get_dtype() not in _DTYPES):
                raise CheckpointError(f"{path} has weights that are no floating-point numbers: {_some(odd)}")
            # Copied: a file's own memory lies at odd addresses, where some CPUs round products differently.
            weights = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in stored}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}") from error
    # A sum is several times as quick as looking at each number, and finite only where all of them are.
    suspects = [name for name, weight in weights.items() if not weight.sum().isfinite()]
    if wrong := sorted(name for name in suspects if not weights[name].isfinite().all()):
        raise CheckpointError(f"{path} has weights that are not finite: {_some(wrong)}")
    return weights


def _check_names(path: Path, shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, Tensor]) -> None:
    wanted = {name: tuple(weight.shape) for name, weight in expected.items()}
    if shapes != wanted:
        missing, unknown = sorted(wanted.keys() - shapes.keys()), sorted(shapes.keys() - wanted.keys())
        other = sorted(name for name in shapes.keys() & wanted.keys() if shapes[name] != wanted[name])
        raise CheckpointError(
            f"{path} does not fit its config: missing {_some(missing)}, unknown {_some(unknown)}, "
            f"other shapes {_some(other)}"
        )


def _some(names: Sequence[str]) -> str:
    """The first few of many names."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{[f'{name:.60}' for name in names[:3]]}{more}"


def _look(weights: Iterable[Tensor]) -> int:
    """A number that a change of weights changes, of the sums of their rows' bits: exact in any order, and quick."""
    parts = []
    for weight in weights:
        if not weight.is_meta:
            rows = (weight if weight.ndim else weight[None]).contiguous()
            size = rows.element_size()
            bits = rows.view(_BITS[math.gcd(8, rows.shape[-1] * size, rows.storage_offset() * size)])
            # Where rows are short, and in vectors, changed signs could cancel out.
            parts.append((bits if bits.ndim == 1 or bits.shape[-1] <= 16 else bits.sum(-1)).flatten())
    return zlib.crc32(torch.cat(parts).cpu().numpy().tobytes()) if parts else 0


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of all weights, by name, as float32."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = weights[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(name.encode() + struct.pack(f"<{values.ndim}q", *values.shape))
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:16]
