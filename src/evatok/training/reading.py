"""Reads files of a run's folder, which may be damaged or a stranger's: what they must hold, or one sentence.

Only JSON and safetensors are read: nothing here can run code.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

_DEEPEST = 32  # levels of objects and lists within each other; a run writes fewer than ten


def few(texts: Sequence[str], shown: int = 3, between: str = ", ") -> str:
    """The first of some texts, and how many more there are."""
    more = f" and {len(texts) - shown} more" if len(texts) > shown else ""
    return between.join(texts[:shown]) + more


def printable(value: Any, longest: int = 60) -> str:
    """A value out of a file as a sentence can show it: on one line, of ordinary characters, not too long."""
    text = json.dumps(value)
    return text if len(text) <= longest else f"{text[:longest]}..."


def read_json(path: Path) -> Any:
    """What a JSON file holds; ValueError for one that cannot be read or is nested too deeply."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if _deeper(found, _DEEPEST):
        raise ValueError(f"{path} is nested too deeply")
    return found


def _deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _deeper(each, levels - 1) for each in inner)


def read_tensors(path: Path, must: Mapping[str, Tensor], may: Sequence[Mapping[str, Tensor]] = ()) -> dict[str, Tensor]:
    """The tensors of a safetensors file, which share its memory.

    Args:
        path: of the file.
        must: tensors of the names, shapes and types of those that it has.
        may: groups of further ones, each of which it has as a whole or not at all.

    Raises:
        ValueError: it cannot be read, has other tensors or other shapes or types of them, or some that hold numbers
            that are not finite or, where they are whole, negative: those are counts.
    """
    try:
        with safe_open(path, "pt") as file:
            names = {*file.keys()}
            wanted = dict(must)
            for group in may:
                wanted |= group if names & group.keys() else {}
            # Of those of another shape none is read: a header may claim shapes that no tensor can have.
            shapes = {name: file.get_slice(name).get_shape() for name in names & wanted.keys()}
            other = {name for name, shape in shapes.items() if tuple(shape) != wanted[name].shape}
            found = {name: file.get_tensor(name) for name in shapes if name not in other}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {printable(str(error), 200)}") from error
    other |= {name for name, tensor in found.items() if tensor.dtype != wanted[name].dtype}
    wrong = {"missing": wanted.keys() - names, "unknown": names - wanted.keys(), "of another shape or type": other}
    if named := [f"{what} {_few_names(tensors)}" for what, tensors in wrong.items() if tensors]:
        raise ValueError(f"{path} does not fit this run's config: {'; '.join(named)}")
    if bad := [name for name, tensor in found.items() if not _sound(tensor)]:
        raise ValueError(f"{path} has numbers that are not finite, or negative counts, in {_few_names(bad)}")
    return found


def _few_names(names: Iterable[str]) -> str:
    return few([printable(name) for name in sorted(names)])


def _sound(tensor: Tensor) -> bool:
    return bool((tensor.isfinite() if tensor.is_floating_point() else tensor >= 0).all())
