"""What losses ask of a frozen network: the features of its layers, each on a grid in space and time."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evatok.nn.packed import on_device
from evatok.nn.positions import like

# Of ImageNet's photographs in [0, 1], by channel.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class VideoEncoder(nn.Module, ABC):
    """A network that is looked through and never trained: frozen, in evaluation mode, its weights float32.

    Layers are counted from 1: layer n is what comes out of the n-th. Copies of it are itself.

    Args:
        widths: channels of each layer.
        default_layers: the layers that losses on several of them look at unless told otherwise.
        side: height and width that frames are brought to, whatever shape they had.
        normalisation: mean and deviation of pictures in [0, 1], by channel, as the network was trained on them.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        widths: Sequence[int],
        default_layers: Sequence[int],
        side: int,
        normalisation: tuple[tuple[float, ...], tuple[float, ...]],
    ) -> None:
        super().__init__()
        self.widths, self.default_layers, self.side = tuple(widths), tuple(default_layers), side
        for name, values in zip(("mean", "deviation"), normalisation, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.widths)

    def features(self, video: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Features of some layers, each `(B, t, h, w, C)` float32 on the layer's own `grid`; differentiable in `video`.

        Under autocast the network follows it.

        Args:
            video: `(B, F, 3, H, W)` float in [-1, 1], of any F from 1 on and any size.
            layers: from 1 to `depth`.

        Raises:
            ValueError: for any other shape, or a layer that there is not.
        """
        if video.ndim != 5 or video.shape[2] != 3 or 0 in video.shape or not video.is_floating_point():
            raise ValueError(f"video must be float (B, F, 3, H, W) in [-1, 1], got {video.dtype} {tuple(video.shape)}")
        self.check_layers(layers)
        return [found.float() for found in self._features(self._pictures(video), layers)]

    def check_layers(self, layers: Sequence[int]) -> None:
        """ValueError where there is no such layer."""
        for layer in layers:
            if not 1 <= layer <= self.depth:
                raise ValueError(f"layer must be among the encoder's 1 to {self.depth}, got {layer}")

    @abstractmethod
    def grid(self, layer: int, frames: int) -> tuple[int, int, int]:
        """Size `(t, h, w)` of a layer's features of a clip of so many frames."""

    @abstractmethod
    def _chosen(self, frames: int) -> list[int]:
        """Which frames of a clip of so many are looked at, in order; one may be among them several times."""

    @abstractmethod
    def _features(self, pictures: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """What `features` gives of the chosen frames `(B, F, 3, side, side)`, normalised."""

    def _pictures(self, video: Tensor) -> Tensor:
        """The frames that are looked at, at the network's size, as it was trained on them."""
        chosen = self._chosen(video.shape[1])
        if chosen != list(range(video.shape[1])):
            video = video.index_select(1, on_device(torch.tensor(chosen), video.device))
        with torch.autocast(video.device.type, enabled=False):
            pictures = video.float()
            rows, columns = (like(pictures, _bilinear, self.side, side) for side in pictures.shape[-2:])
            return (rows @ pictures @ columns.T / 2 + 0.5 - self.mean) / self.deviation

    def train(self, mode: bool = True) -> Self:
        """Does nothing: it stays in evaluation mode."""
        return super().train(False)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self


def _bilinear(cells: int, positions: int) -> Tensor:
    """Matrix `(cells, positions)` that resizes one side of a picture, antialiased.

    A product has the same gradient each time on a GPU too, which `interpolate` has not.
    """
    return F.interpolate(torch.eye(positions)[None, None], (cells, positions), mode="bilinear", antialias=True)[0, 0]
