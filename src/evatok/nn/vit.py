"""A plain ViT over the 3D patches of videos of any size: its layers, and where each patch lies.

The keys of its weights are those of the modules that hold these parts: routers and discriminators.
"""

import torch
from torch import Tensor, nn

from evatok.nn.positions import cell_centres
from evatok.nn.transformer import RESIDUAL_START, TransformerConfig


def vit_layers(config: TransformerConfig) -> nn.TransformerEncoder:
    """Layers in which all elements `(B, N, width)` see each other, and a last norm."""
    layer = nn.TransformerEncoderLayer(
        config.width, config.heads, config.mlp_ratio * config.width, 0.0, "gelu", batch_first=True, norm_first=True
    )
    layers = nn.TransformerEncoder(layer, config.depth, nn.LayerNorm(config.width), enable_nested_tensor=False)
    # The encoder copies its first layer: without this all would begin alike.
    for name, weight in layers.named_parameters():
        if weight.ndim == 2:
            start = RESIDUAL_START if "out_proj" in name else 1.0
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5 * start)
    return layers


def patch_coordinates(video: Tensor, patch: tuple[int, int, int], side: int) -> Tensor:
    """Block and place of every patch of videos `(B, F, 3, H, W)`, `(patches, 3)` float32 where the videos are.

    Args:
        video: whose sides are multiples of those of a patch.
        patch: frames, height and width of a patch in pixels.
        side: of the trained square in pixels, the unit of places.
    """
    height, width = video.shape[-2:]
    centres = cell_centres((height // patch[1], width // patch[2]), (height / side, width / side))
    blocks = torch.arange(video.shape[1] // patch[0])
    times = blocks.repeat_interleave(len(centres))[:, None].float()
    return torch.cat([times, centres.repeat(len(blocks), 1)], 1).to(video.device)
