"""A discriminator of space-time patches: a ViT over a clip with a logit for each patch.

The paper (section 3) takes the transformer PatchGAN of LARP (Wang et al. 2024).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from evatok.nn.patches import MOST_SIDE, Patches, check_patch
from evatok.nn.positions import PositionEmbedding
from evatok.nn.transformer import TransformerConfig
from evatok.nn.vit import patch_places, vit_layers
from evatok.utils.configs import check_between


@dataclass(frozen=True)
class PatchDiscriminatorConfig:
    """What a discriminator of patches is made of. The defaults are the preset `tiny`.

    Args:
        patch: frames, height and width of a patch in pixels.
        side: side in pixels of the square that positions take as their unit; clips may have any size.
        transformer: size of the ViT.
    """

    patch: tuple[int, int, int] = (4, 8, 8)
    side: int = 64
    transformer: TransformerConfig = field(default_factory=lambda: TransformerConfig(128, 2, 4))

    def __post_init__(self) -> None:
        object.__setattr__(self, "patch", tuple(self.patch))
        check_patch(self.patch)
        check_between(self, 1, MOST_SIDE, "side")


DISCRIMINATOR_PRESETS: dict[str, PatchDiscriminatorConfig] = {
    "tiny": PatchDiscriminatorConfig(),
    # LARP's: 8 layers, 384 wide, 12 heads; ours want heads whose width is a multiple of 16.
    "paper": PatchDiscriminatorConfig(side=128, transformer=TransformerConfig(384, 8, 12)),
}


class PatchDiscriminator(nn.Module):
    """Tells clips from reconstructions, patch by patch; every patch sees the whole clip."""

    def __init__(self, config: PatchDiscriminatorConfig) -> None:
        super().__init__()
        width = config.transformer.width
        self.config = config
        self.patches = Patches(config.patch, width)
        self.position = PositionEmbedding(width, with_level=False)
        self.transformer = vit_layers(config.transformer)
        self.head = nn.Linear(width, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, video: Tensor) -> Tensor:
        """Logits `(B, blocks, h, w)` float32 of clips `(B, F, 3, H, W)` in about [-1, 1].

        Raises ValueError where F, H and W are no multiples of the patch's.
        """
        _, height, width = sizes = (video.shape[1], video.shape[-2], video.shape[-1])
        if any(size % step for size, step in zip(sizes, self.config.patch, strict=True)):
            raise ValueError(f"frames, height and width must be multiples of {self.config.patch}, got {sizes}")
        patches = self.patches(video)
        places = patch_places(video, self.config.patch, self.config.side)
        features = patches.flatten(1, 2) + self.position(places).to(patches.dtype)
        logits = self.head(self.transformer(features))[..., 0].float()
        return torch.unflatten(logits, 1, (-1, height // self.config.patch[1], width // self.config.patch[2]))
