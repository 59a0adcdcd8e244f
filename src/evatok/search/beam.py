"""The beam on clips of any number of blocks, also of more than the tokenizer's own: its cost is linear in them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from evatok.allocation.beam import Beam, Kept
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.measuring import OfNetwork
from evatok.tokenizer.network import TokenizerNetwork
from evatok.video.fit import to_signed


@torch.no_grad()
def beam_search(
    network: TokenizerNetwork, clips: Tensor, lpips: LPIPS | None, beams: Sequence[Beam]
) -> list[list[Kept]]:
    """The best assignments that a beam finds of each clip, best first.

    Args:
        network: the tokenizer, in evaluation mode.
        clips: uint8 `(B, F, 3, H, W)` of whole blocks, on the tokenizer's device.
        lpips: the metric, on the same device; None: mean squared error on the scale 0 to 255.
        beams: of each clip.
    """
    blocks = clips.shape[1] // network.config.block_frames
    return [
        beam.run(OfNetwork(network, to_signed(clip[None]), lpips), blocks)
        for clip, beam in zip(clips, beams, strict=True)
    ]
