"""A router whose preferences are known, for stages that ask one."""

import torch

from evatok.allocation.calibration import Calibration
from evatok.allocation.reward import ProxyReward
from evatok.router.config import RouterConfig
from evatok.router.model import Router
from tests.conftest import MINI

UNIT = 0.001  # price of a token at w_q 1


def mini_router() -> Router:
    """On average it thinks that 8 instead of 4 tokens in the first block are worth 30 tokens, in a later one 3."""
    torch.manual_seed(0)
    reward = ProxyReward(lpips_mean=0.2, lpips_std=UNIT, tokens_mean=24.0, tokens_std=1.0)
    router = Router(RouterConfig(levels=MINI.levels, side=16, calibration=Calibration(reward)))
    last = torch.tensor([row[-1] for blocks in range(1, 5) for row in MINI.space.of_blocks(blocks).lengths.tolist()])
    first = torch.arange(len(last)) < 2
    # An assignment's LPIPS is the mean over its four blocks.
    router.network.mean.copy_(0.2 - (last == 8) * torch.where(first, 30, 3) * 4 * UNIT)
    torch.nn.init.normal_(router.network.head.weight, std=0.02)
    return router
