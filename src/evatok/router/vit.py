"""The paper's kind of router: a ViT over 3D patches and a summary token."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evatok.nn.patches import Patches
from evatok.nn.positions import PositionEmbedding
from evatok.nn.vit import patch_coordinates, vit_layers
from evatok.router.config import RouterConfig
from evatok.router.network import RouterNetwork, measured_wholly

# The picture is seen as it is, and with so many pixels as one; of each size two numbers a block.
_SIZES = (1, 2, 4)
HINTS = 2 * len(_SIZES)
# Added before the logarithm, since a still block changes by 0. It hides rounding: a grey level of 255 is 8e-3 on the
# scale -1 to 1, so a change of 1e-3 is that of every eighth value by one level.
_STILL = 1e-3
_USUAL = -4  # about the mean of the logarithms over training clips, so that hints lie about 0


class VitNetwork(RouterNetwork):
    """A ViT (paper, section 4): 3D patches and [CLS] in, `RouterConfig.outputs` numbers a clip out.

    An untrained one predicts the same of every clip: nothing, or, after `set_statistics`, the clips' mean.
    """

    scale: Tensor

    def __init__(self, config: RouterConfig) -> None:
        super().__init__(config)
        width = config.transformer.width
        self.patches = Patches(config.patch, width)
        self.position = PositionEmbedding(width, with_level=False)
        self.summary = nn.Parameter(torch.randn(width) * 0.02)
        self.hints = nn.Linear(HINTS * config.blocks, width) if config.hints else None
        self.transformer = vit_layers(config.transformer)
        self.head = nn.Linear(width, config.outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("scale", torch.ones(config.outputs))

    def set_statistics(self, values: Tensor) -> None:
        """As `RouterNetwork.set_statistics` says, by the clips that were measured wholly."""
        whole = measured_wholly(values)
        self.mean.copy_(whole.mean(0))
        self.scale.copy_(whole.std(0, correction=0).clamp(min=1e-6))

    def forward(self, video: Tensor, kept: Tensor | None = None) -> Tensor:
        """Predictions `(B, outputs)` float32: logits of a classification, else LPIPS.

        Args:
            video: what `look` gave.
            kept: patches that are looked at, `(B, n)` int64; None: all.
        """
        patches = self.patches(video)
        coordinates = patch_coordinates(video, self.config.patch, self.config.side)
        features = patches.flatten(1, 2) + self.position(coordinates).to(patches.dtype)
        if kept is not None:
            features = features.gather(1, kept[:, :, None].expand(-1, -1, features.shape[2]))
        summary = self.summary.to(features.dtype).expand(len(features), -1)
        if self.hints is not None:
            summary = summary + self.hints(hints(video, self.config.blocks))
        seen = self.transformer(torch.cat([summary[:, None], features], 1))[:, 0]
        return self.mean + self.scale * self.head(seen).float()

    def patch_count(self, video: Tensor) -> int:
        """Patches of each clip of what `look` gave."""
        frames, height, width = self.config.patch
        return video.shape[1] // frames * (video.shape[-2] // height) * (video.shape[-1] // width)


def hints(video: Tensor, blocks: int) -> Tensor:
    """Logarithms of how much each block changes from frame to frame, and from pixel to pixel, seen at three sizes.

    Args:
        video: `(B, F, 3, H, W)` float in [-1, 1].
        blocks: of equal length, in which the frames are.

    Returns:
        `(B, HINTS * blocks)` float32, about between −3 and 3.
    """
    found = []
    for size in _SIZES:
        # Means of single pixels would cost a tenth of the router's time on a CPU.
        seen = video if size == 1 else F.avg_pool2d(video.flatten(0, 1), size).unflatten(0, video.shape[:2])
        # The step into a block belongs to it; none leads into the first.
        found.append(_by_block(seen.diff(dim=1, prepend=seen[:, :1]), blocks))
        found.append((_by_block(seen.diff(dim=-1), blocks) + _by_block(seen.diff(dim=-2), blocks)) / 2)
    return torch.cat(found, 1).add(_STILL).log() - _USUAL


def _by_block(change: Tensor, blocks: int) -> Tensor:
    return change.abs().unflatten(1, (blocks, -1)).flatten(2).mean(2)
