"""Changes of videos before discriminators and frozen networks see them, after DiffAugment (Zhao et al. 2020).

All frames of a clip, and all versions of it, such as it and its reconstruction, are changed alike; every change passes
gradients on. Pairs go in stacked: `(2, B, F, 3, H, W)`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from evatok.utils.configs import check_between, check_least


@dataclass(frozen=True)
class AugmentationConfig:
    """How far clips are changed at most; each change is uniform within it.

    Colours change by less than in DiffAugment, which has 0.5, 1 and 0.5; that less is better has not been shown.

    Args:
        brightness: what is added, on the scale from -1 to 1.
        saturation: by how much the factor of colours' distance to grey differs from 1, up to 1.
        contrast: by how much the factor of all differs from 1, up to 1.
        translation: pixels to either side; borders are reflected.
    """

    brightness: float = 0.2
    saturation: float = 0.2
    contrast: float = 0.2
    translation: int = 4

    def __post_init__(self) -> None:
        check_least(self, 0, "brightness", "translation")
        check_between(self, 0, 1, "saturation", "contrast")


def augmented(video: Tensor, generator: torch.Generator, config: AugmentationConfig) -> Tensor:
    """Videos `(..., B, F, 3, H, W)` in about [-1, 1] in other colours and shifted.

    Args:
        video: what the leading dimensions number are versions of the same clips.
        generator: of what is drawn for each clip, on the CPU.
        config: how far they are changed.
    """
    most = torch.tensor([config.brightness, config.saturation, config.contrast])[:, None]
    drawn = most * (2 * torch.rand(3, video.shape[-5], generator=generator) - 1)
    brightness, saturation, contrast = drawn.to(video)[..., None, None, None, None]
    grey = video.mean(-3, keepdim=True)
    coloured = grey + (video - grey) * (1 + saturation)
    return shifted(coloured * (1 + contrast) + brightness, generator, config.translation)


def shifted(video: Tensor, generator: torch.Generator, most: int) -> Tensor:
    """Videos `(..., B, F, 3, H, W)`, each clip shifted by up to `most` pixels down or up and right or left.

    What the leading dimensions number are versions of the same clips, shifted alike. Borders are reflected.

    Raises:
        ValueError: a side is not longer than the shift.
    """
    height, width = video.shape[-2:]
    if most >= min(height, width):
        raise ValueError(f"a shift must be shorter than the sides, {height}x{width}, got {most}")
    padded = F.pad(video.flatten(0, -4), (most,) * 4, mode="reflect").unflatten(0, video.shape[:-3])
    corners = torch.randint(0, 2 * most + 1, (video.shape[-5], 2), generator=generator).tolist()
    clips = zip(padded.unbind(-5), corners, strict=True)
    return torch.stack([clip[..., y : y + height, x : x + width] for clip, (y, x) in clips], -5)
