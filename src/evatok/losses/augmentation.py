"""Changes of clips before a discriminator: the same for all frames of a clip, and for a clip and its reconstruction."""

import torch
from torch import Tensor
from torch.nn import functional as F

# Brightness moves by up to half of this range [-1, 1]'s unit; saturation and contrast are multiplied (DiffAugment).
_BRIGHTNESS, _SATURATION, _CONTRAST = 0.5, (0.0, 2.0), (0.5, 1.5)
_SHIFT = 1 / 8


def augmented(videos: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Videos of the same clips, `(B, F, 3, H, W)` in about [-1, 1] each, in other light, colours and places.

    Differentiable, as DiffAugment has it (Zhao et al. 2020); moved by up to an eighth of the smaller side.
    """
    clips = len(videos[0])

    def drawn(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(clips, 1, 1, 1, 1, generator=generator)).to(videos[0].device)

    brightness, saturation, contrast = drawn(-_BRIGHTNESS, _BRIGHTNESS), drawn(*_SATURATION), drawn(*_CONTRAST)
    found = []
    for video in videos:
        video = video + brightness
        grey = video.mean(2, keepdim=True)
        video = grey + saturation * (video - grey)
        middle = video.mean((1, 2, 3, 4), keepdim=True)
        found.append(middle + contrast * (video - middle))
    return shifted(found, generator, max(int(min(videos[0].shape[-2:]) * _SHIFT), 1))


def shifted(videos: list[Tensor], generator: torch.Generator, most: int) -> list[Tensor]:
    """Videos of the same clips, each clip moved by at most so many pixels; borders are mirrored.

    Before a network that never saw the tokenizer's patch grid, so that no pattern on that grid pleases it.
    """
    if most == 0:
        return videos
    offsets = torch.randint(2 * most + 1, (len(videos[0]), 2), generator=generator).tolist()
    height, width = videos[0].shape[-2:]
    found = []
    for video in videos:
        padded = F.pad(video.flatten(1, 2), (most,) * 4, mode="reflect").unflatten(1, video.shape[1:3])
        rows = [clip[..., y : y + height, x : x + width] for clip, (y, x) in zip(padded, offsets, strict=True)]
        found.append(torch.stack(rows))
    return found
