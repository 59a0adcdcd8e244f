"""What routers' networks have in common: how they see clips, and the mean that they begin with."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from evatok.router.config import RouterConfig
from evatok.video.fit import fill_blocks, plan_fit


class RouterNetwork(nn.Module, ABC):
    """A clip in, `RouterConfig.outputs` numbers out: logits of a classification, else LPIPS."""

    mean: Tensor
    head: nn.Linear

    def __init__(self, config: RouterConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.outputs))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mean.device

    @property
    def dtype(self) -> torch.dtype:
        """That of the weights."""
        return next(self.parameters()).dtype

    @abstractmethod
    def set_statistics(self, values: Tensor) -> None:
        """Lets the network begin with what values `(clips, outputs)` are on average, and learn in their deviations.

        NaN have not been measured. At least one clip has none.
        """

    def look(self, video: Tensor) -> Tensor:
        """What the network sees of clips `(B, F, 3, H, W)`, uint8 or float in [-1, 1]: `(B, frames, 3, h, w)` float32.

        A shorter clip goes on with its last frame.
        """
        config = self.config
        whole = fill_blocks(video, config.clip_frames)
        size = (video.shape[-2], video.shape[-1])
        return plan_fit(size, area=config.side**2, patch=config.patch[1:], mode="keep").apply(whole)


def measured_wholly(values: Tensor) -> Tensor:
    """Rows of values `(clips, outputs)` without NaN."""
    return values[values.isfinite().all(1)]
