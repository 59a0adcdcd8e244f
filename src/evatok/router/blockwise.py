"""A router that sees a few measures of each block, and predicts every block alike (ours).

It is made to learn from few measured blocks of many clips. One MLP serves all blocks, and sees the measures of
the block and of those before it, so each measured block teaches about every other. Prefixes are described by their
lengths instead of having outputs of their own, so a measured prefix teaches about its neighbours. And LPIPS is
predicted by its logarithm: what a clip makes worse, it makes worse by a factor.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evatok.assignment import AssignmentSpace
from evatok.nn.positions import like
from evatok.router.config import RouterConfig
from evatok.router.measures import MEASURES, measures
from evatok.router.network import RouterNetwork, measured_wholly

_SMALLEST = 1e-3  # LPIPS before its logarithm
_LEAST_SPREAD = 0.05
_HIDDEN = 64  # between a prefix's description and its numbers


class BlockwiseNetwork(RouterNetwork):
    """LPIPS of each block under each prefix, from `measures` of this block and of those before it.

    An untrained one predicts nothing, or, after `set_statistics`, of every clip what clips have on (geometric) average.
    """

    log_mean: Tensor
    log_spread: Tensor

    def __init__(self, config: RouterConfig) -> None:
        super().__init__(config)
        assert config.blockwise is not None
        width, rank = config.blockwise.width, config.blockwise.rank
        self.blocks = nn.Sequential(
            nn.Linear(config.blocks * (MEASURES + 1), width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.head = nn.Linear(width, rank)
        self.prefixes = nn.Sequential(nn.Linear(4 * config.blocks + 3, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, rank))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("log_mean", torch.full((config.outputs,), -torch.inf))
        self.register_buffer("log_spread", torch.ones(config.outputs))

    def set_statistics(self, values: Tensor) -> None:
        """As `RouterNetwork.set_statistics` says: the mean of clips measured wholly, logarithms of all."""
        self.mean.copy_(measured_wholly(values).mean(0))
        logarithms = values.clamp(min=_SMALLEST).log()
        self.log_mean.copy_(logarithms.nanmean(0))
        self.log_spread.copy_((logarithms - self.log_mean).square().nanmean(0).sqrt().clamp(min=_LEAST_SPREAD))

    def look(self, video: Tensor) -> Tensor:
        """The measures of clips `(B, F, 3, H, W)`, uint8 or float in [-1, 1]: `(B, blocks, MEASURES)` float32."""
        return measures(super().look(video), self.config.blocks)

    def forward(self, seen: Tensor) -> Tensor:
        """LPIPS of each block under each prefix, `(B, prefixes)` float32, of what `look` gave."""
        config = self.config
        # A block sees itself first, then those before it, where there are none zeros; and which one it is.
        windows = F.pad(seen, (0, 0, config.blocks - 1, 0)).unfold(1, config.blocks, 1).flip(-1).flatten(2)
        places = torch.eye(config.blocks, device=seen.device, dtype=seen.dtype).expand(len(seen), -1, -1)
        factors = self.head(self.blocks(torch.cat([windows, places], 2)))
        numbers = self.prefixes(like(seen, describe, config.space))
        parts = numbers.split([len(config.space.levels) ** blocks for blocks in range(1, config.blocks + 1)])
        found = torch.cat([factors[:, block] @ part.T for block, part in enumerate(parts)], 1)
        return (self.log_mean + self.log_spread * found.float()).exp()


def describe(space: AssignmentSpace) -> Tensor:
    """Numbers that describe each prefix, `(prefixes, 4 * blocks + 3)` float32: its lengths, counted from its end.

    Of each length its place among the levels, on a logarithmic scale from -1 to 1, and the square of that; then how
    many blocks there are, the product of the last two lengths, the longest of those before the last, and of all.
    """
    low, high = math.log(space.levels[0]), math.log(space.levels[-1])
    rows = []
    for blocks in range(1, space.blocks + 1):
        scaled = (space.of_blocks(blocks).lengths.float().log() - low) / (high - low) * 2 - 1
        latest = scaled.flip(1)
        there = torch.stack([torch.ones_like(latest), latest, latest.square() - 0.5], 2)
        there = F.pad(there, (0, 0, 0, space.blocks - blocks)).flatten(1)
        number = torch.zeros(len(latest), space.blocks, device="cpu")
        number[:, blocks - 1] = 1
        before = latest[:, 1:] if blocks > 1 else torch.full_like(latest, -1)
        product = latest[:, :1] * before[:, :1] if blocks > 1 else torch.zeros_like(latest)
        rows.append(torch.cat([there, number, product, before.amax(1, True), latest.amax(1, True)], 1))
    return torch.cat(rows)
