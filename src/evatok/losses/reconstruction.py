"""Reconstruction loss: L1 on pixels plus LPIPS on frames (paper, section 3)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from evatok.losses.augmentation import shifted
from evatok.nn.packed import on_device
from evatok.pretrained.lpips import LPIPS
from evatok.utils.configs import check_least


@dataclass(frozen=True)
class ReconstructionLossConfig:
    """Weights of the reconstruction loss.

    Args:
        l1: weight of the mean absolute error of pixels in [-1, 1].
        perceptual: weight of LPIPS; 0 leaves it out.
        perceptual_start: steps of the training before LPIPS joins; fewer than it has.
        lpips_net: the network of LPIPS, `alex` (cheap, for CPUs) or `vgg`.
        perceptual_frames: frames of each clip that LPIPS sees, drawn anew each time, evenly spread; 0 for all.
        perceptual_shift: pixels by which clips are moved at most before LPIPS, whose first layer has strides, so that
            speckles on the patch grid fool it where it always sees clips at the same place.
        sketch: weight of the mean absolute error of the sketch, which later blocks go on from; 0 leaves it out.
    """

    l1: float = 1.0
    perceptual: float = 1.0
    perceptual_start: int = 0
    lpips_net: Literal["alex", "vgg"] = "vgg"
    perceptual_frames: int = 0
    perceptual_shift: int = 0
    sketch: float = 0.0

    def __post_init__(self) -> None:
        check_least(self, 0, "l1", "perceptual", "perceptual_start", "perceptual_frames", "perceptual_shift", "sketch")


class ReconstructionLoss(nn.Module):
    """L1 and LPIPS between a clip and its reconstruction, and L1 between the clip and its sketch."""

    def __init__(self, config: ReconstructionLossConfig) -> None:
        super().__init__()
        self.config = config
        self.lpips = LPIPS.from_pretrained(config.lpips_net) if config.perceptual else None

    def forward(
        self,
        output: Tensor,
        video: Tensor,
        generator: torch.Generator,
        sketch: Tensor | None = None,
        step: int | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses of `output` and of its sketch, if it has one, against `video`, each a mean over clips.

        All of them are `(B, F, 3, H, W)` in about [-1, 1]; `generator` draws what LPIPS sees of them. Before
        `step` is `perceptual_start` there is no `lpips`; None is after it.

        Raises:
            ValueError: a side is not longer than the shift.
        """
        losses = {"l1": self.config.l1 * (output.float() - video).abs().mean()}
        if self.lpips is not None and (step is None or step >= self.config.perceptual_start):
            seen, original = output, video
            if 0 < self.config.perceptual_frames < video.shape[1]:
                chosen = on_device(self._frames(video.shape[1], generator), video.device)
                seen, original = output.index_select(1, chosen), video.index_select(1, chosen)
            if self.config.perceptual_shift:
                seen, original = shifted(torch.stack([seen, original]), generator, self.config.perceptual_shift)
            distance = self.lpips(seen.flatten(0, 1), original.flatten(0, 1))
            losses["lpips"] = self.config.perceptual * distance.mean()
        if sketch is not None and self.config.sketch:
            losses["sketch"] = self.config.sketch * (sketch - video).abs().mean()
        return losses

    def _frames(self, frames: int, generator: torch.Generator) -> Tensor:
        """One random frame out of each of equal stretches of the clip."""
        count = min(self.config.perceptual_frames, frames)
        edges = torch.arange(count + 1) * frames // count
        offset = torch.rand(count, generator=generator) * (edges[1:] - edges[:-1])
        return edges[:-1] + offset.long()
