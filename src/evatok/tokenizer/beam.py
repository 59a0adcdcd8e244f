"""Lengths by measuring: the blocks of a clip that its router expects the most of are encoded, decoded and compared."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from evatok.allocation.beam import Beam, Expected
from evatok.pretrained.lpips import LPIPS, SMALLEST_SIDE, Network
from evatok.router.model import Router
from evatok.tokenizer.clips import ClipChunk
from evatok.tokenizer.measuring import OfNetwork
from evatok.tokenizer.network import TokenizerNetwork
from evatok.video.fit import fill_blocks

# LPIPS by AlexNet or by VGG16, or mean squared error.
Metric = Literal["alex", "vgg", "mse"]


class LengthsByBeam:
    """Every clip has the lengths that a beam finds at a price of a token.

    A clip's lengths are the same alone and in any batch: what is measured together belongs to one clip.

    Args:
        network: the tokenizer, in evaluation mode.
        router: says which blocks to measure.
        width: prefixes that are kept after each block; about twice as many are measured.
        prices: of a token in LPIPS in each video, as `Router.pick` takes them.
        metric: what is measured, squared errors in units of LPIPS; None: LPIPS by the network that the router has
            learned from.
    """

    def __init__(
        self,
        network: TokenizerNetwork,
        router: Router,
        width: int,
        prices: Sequence[float],
        metric: Metric | None = None,
    ) -> None:
        self._network, self._router = network, router
        self._width, self._prices = width, prices
        metric = metric or router.calibration.lpips_net
        self._lpips = None if metric == "mse" else _lpips(metric, network.device)
        self._unit = router.lpips_per_mse if metric == "mse" else 1.0

    @torch.no_grad()
    def lengths(self, chunk: ClipChunk) -> Tensor:
        """As `LengthPolicy.lengths` says."""
        self._check_size(*chunk.clips.shape[-2:])
        filled = fill_blocks(chunk.clips, self._network.config.block_frames)
        clips = filled.to(self._network.device, torch.float32).split(1)
        values = self._router.values(chunk.clips)
        expected = [None] * len(clips) if values is None else list(values)
        prices = [self._prices[video] for video in chunk.videos]
        return torch.stack([self._best(*each) for each in zip(clips, expected, prices, strict=True)])

    def _check_size(self, height: int, width: int) -> None:
        smallest = 1 if self._lpips is None else SMALLEST_SIDE[self._lpips.network]
        if min(height, width) < smallest:
            raise ValueError(
                f"beam measures LPIPS, for which sides have at least {smallest} pixels; the tokenizer sees these "
                f"as {width}x{height}: use beam_metric `mse`"
            )

    def _best(self, clip: Tensor, values: Tensor | None, price: float) -> Tensor:
        config = self._network.config
        blocks = clip.shape[1] // config.block_frames
        expected = None if values is None else Expected(config.space.of_blocks(blocks), values)
        # To a clip of half the blocks a token costs as much: errors are summed, not averaged, over its blocks.
        beam = Beam(config.levels, self._width, config.blocks * price, expected)
        kept = beam.run(OfNetwork(self._network, clip, self._lpips, self._unit), blocks)
        return torch.tensor(kept[0].lengths)


@lru_cache(maxsize=2)
def _lpips(network: Network, device: torch.device) -> LPIPS:
    return LPIPS.from_pretrained(network).to(device)
