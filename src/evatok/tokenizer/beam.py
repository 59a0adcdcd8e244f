"""Lengths by measuring: the blocks of a clip that its router expects the most of are encoded, decoded and compared."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from evatok.allocation.beam import Beam, Expected
from evatok.pretrained.lpips import LPIPS
from evatok.router.model import Router
from evatok.tokenizer.clips import ClipChunk
from evatok.tokenizer.measuring import OfNetwork
from evatok.tokenizer.network import TokenizerNetwork
from evatok.video.fit import fill_blocks

Metric = Literal["lpips", "mse"]
_SMALLEST = 31  # pixels a side, for AlexNet


class LengthsByBeam:
    """Every clip has the lengths that a beam finds at a price of a token.

    A clip's lengths are the same alone and in any batch: what is measured together belongs to one clip.

    Args:
        network: the tokenizer, in evaluation mode.
        router: says which blocks to measure.
        width: prefixes that are kept after each block; about twice as many are measured.
        prices: of a token in LPIPS in each video, as `Router.pick` takes them.
        metric: LPIPS of the network that the router has learned from, or mean squared error in units of it.
    """

    def __init__(
        self,
        network: TokenizerNetwork,
        router: Router,
        width: int,
        prices: Sequence[float],
        metric: Metric = "lpips",
    ) -> None:
        self._network, self._router = network, router
        self._width, self._prices = width, prices
        self._lpips = _lpips(network.device) if metric == "lpips" else None
        self._unit = 1.0 if metric == "lpips" else router.lpips_per_mse

    @torch.no_grad()
    def lengths(self, chunk: ClipChunk) -> Tensor:
        """As `LengthPolicy.lengths` says."""
        height, width = chunk.clips.shape[-2:]
        if self._lpips is not None and min(height, width) < _SMALLEST:
            raise ValueError(
                f"beam measures LPIPS, for which sides have at least {_SMALLEST} pixels; the tokenizer sees these "
                f"as {width}x{height}: use beam_metric `mse`"
            )
        filled = fill_blocks(chunk.clips, self._network.config.block_frames)
        clips = filled.to(self._network.device, torch.float32).split(1)
        values = self._router.values(chunk.clips)
        expected = [None] * len(clips) if values is None else list(values)
        prices = [self._prices[video] for video in chunk.videos]
        return torch.stack([self._best(*each) for each in zip(clips, expected, prices, strict=True)])

    def _best(self, clip: Tensor, values: Tensor | None, price: float) -> Tensor:
        config = self._network.config
        blocks = clip.shape[1] // config.block_frames
        expected = None if values is None else Expected(config.space.of_blocks(blocks), values)
        # To a clip of half the blocks a token costs as much: errors are summed, not averaged, over its blocks.
        beam = Beam(config.levels, self._width, config.blocks * price, expected)
        kept = beam.run(OfNetwork(self._network, clip, self._lpips, self._unit), blocks)
        return torch.tensor(kept[0].lengths)


@lru_cache(maxsize=1)
def _lpips(device: torch.device) -> LPIPS:
    return LPIPS.from_pretrained("alex").to(device)
