"""The web demo's models, small and with random weights, and videos for it."""

from pathlib import Path

import torch
from torch import Tensor

from evatok.allocation.calibration import Calibration
from evatok.allocation.reward import ProxyReward
from evatok.app.comparing import Models
from evatok.nn.transformer import TransformerConfig
from evatok.pretrained.lpips import LPIPS
from evatok.router.config import RouterConfig
from evatok.router.model import Router
from evatok.video.reading import write_video
from tests.conftest import IN_PASSES, random_tokenizer

ROUTER = RouterConfig(
    levels=(4, 8),
    side=16,
    transformer=TransformerConfig(32, 1, 2),
    head="prefix_regression",
    calibration=Calibration(ProxyReward(0.5, 0.1, 24.0, 4.0), 1.2),
)


def small_models() -> Models:
    """A tokenizer of levels 4 and 8 with a router, and LPIPS of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        router, lpips = Router(ROUTER).eval(), LPIPS("alex")
        # Of each block, tokens are worth less than of the one before: both lengths are picked at some price.
        router.network.mean.copy_(
            torch.cat([torch.tensor([0.5, 0.5 - 0.2 / t]).repeat(2**t // 2) for t in range(1, 5)])
        )
    return Models(random_tokenizer(IN_PASSES).set_router(router), lpips)


def frames(count: int) -> Tensor:
    """A moving picture `(count, 3, 64, 64)` uint8."""
    picture = torch.randint(0, 256, (3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    large = picture.repeat_interleave(8, 1).repeat_interleave(8, 2)
    return torch.stack([large.roll(2 * number, 2) for number in range(count)])


def video_file(folder: Path, count: int, name: str = "mine.mp4") -> Path:
    """A video of so many frames, 16 a second."""
    path = folder / name
    write_video(path, frames(count), fps=16)
    return path
