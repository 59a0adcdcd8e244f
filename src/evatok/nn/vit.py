"""What plain ViTs over 3D patches share: their layers, and where patches lie."""

import torch
from torch import Tensor, nn

from evatok.nn.positions import cell_centres
from evatok.nn.transformer import RESIDUAL_START, TransformerConfig


def vit_layers(config: TransformerConfig) -> nn.TransformerEncoder:
    """Layers of self-attention and MLP and a final norm, on elements `(B, n, width)`."""
    layer = nn.TransformerEncoderLayer(
        config.width, config.heads, config.mlp_ratio * config.width, 0.0, "gelu", batch_first=True, norm_first=True
    )
    layers = nn.TransformerEncoder(layer, config.depth, nn.LayerNorm(config.width), enable_nested_tensor=False)
    # The encoder copies its first layer: without this all would begin alike.
    for name, weight in layers.named_parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5 * (RESIDUAL_START if "out_proj" in name else 1.0))
    return layers


def patch_places(video: Tensor, patch: tuple[int, int, int], side: int) -> Tensor:
    """Block and place of every patch of a video `(B, F, 3, H, W)`, `(patches, 3)`; a square of `side` has size 1."""
    height, width = video.shape[-2], video.shape[-1]
    centres = cell_centres((height // patch[1], width // patch[2]), (height / side, width / side))
    blocks = torch.arange(video.shape[1] // patch[0])
    times = blocks.repeat_interleave(len(centres))[:, None].float()
    return torch.cat([times, centres.repeat(len(blocks), 1)], 1).to(video.device)
