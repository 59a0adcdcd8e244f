"""Published weights out of packages as safetensors files in the user's cache, made on first need."""

import os
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save
from torch import nn

from evatok.utils.packages import Package, cache_folder, made_in_cache, package_members


def converted_file(name: str, package: Package, member: str, model_of: Callable[[Path], nn.Module]) -> Path:
    """The safetensors file `name` of a model that `model_of` makes out of a package's member.

    Raises :class:`~evatok.utils.packages.PackageError` when the package cannot be fetched.
    """
    wanted = cache_folder() / "weights" / f"{name}.safetensors"
    if not wanted.exists():
        made_in_cache("weights")
        with package_members(package, [member]) as [file]:
            keep(model_of(file), file, wanted)
    return wanted


def keep(model: nn.Module, source: Path, target: Path) -> None:
    """Writes a model's weights beside the file that they come from, then puts them where they are to be."""
    unfinished = source.with_suffix(".safetensors")
    # Not `save_file`, which lets no other user read the file: a cache may be shared.
    unfinished.write_bytes(save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}))
    os.replace(unfinished, target)
