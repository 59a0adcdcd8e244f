"""What measuring many clips leaves in a folder, part by part: a killed run goes on where it was."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from evatok.utils.files import replacing, write_json
from evatok.utils.parts import differing

_PLAN = "plan.json"


class ClipParts:
    """Numbered parts of a folder, each made once.

    Args:
        folder: made if missing.
        plan: all that decides what is in the parts, as JSON can hold it.

    Raises:
        ValueError: the folder has parts of another plan.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, wanted = folder, json.loads(json.dumps(plan))
        if (folder / _PLAN).exists():
            found = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
            if keys := differing(found, wanted):
                raise ValueError(
                    f"{folder} holds what another evaluation has measured, of other {', '.join(keys)}; "
                    "remove it, or choose another `folder`"
                )
        write_json(folder / _PLAN, wanted)

    def measured(
        self, clips: int, together: int, make: Callable[[range], dict[str, Tensor]], what: str
    ) -> dict[str, Tensor]:
        """What is made of the numbers of so many clips, some together, all joined; parts that are there are taken."""
        numbers = [range(first, min(first + together, clips)) for first in range(0, clips, together)]
        with tqdm(total=clips, unit="clip", desc=what) as bar:
            found = []
            for number, some in enumerate(numbers):
                found.append(self._part(number, some, make))
                bar.update(len(some))
        return {name: torch.cat([part[name] for part in found]) for name in found[0]}

    def _part(self, number: int, clips: range, make: Callable[[range], dict[str, Tensor]]) -> dict[str, Tensor]:
        path = self._folder / f"{number:06}.safetensors"
        if not path.exists():
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make(clips).items()}
            with replacing(path) as temporary:
                temporary.write_bytes(save(tensors))
        return load_file(path)


def texts_tensor(texts: Sequence[str]) -> Tensor:
    """Texts without a NUL as a tensor of bytes; several of these join to that of all texts."""
    return torch.tensor(list("".join(f"{text}\0" for text in texts).encode()), dtype=torch.uint8)


def tensor_texts(tensor: Tensor) -> list[str]:
    """The inverse of `texts_tensor`."""
    return bytes(tensor.tolist()).decode().split("\0")[:-1]
