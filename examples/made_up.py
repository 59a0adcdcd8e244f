"""Videos for the examples, so that these need none: discs over a soft ground, some of them still, some of them wild."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from evatok import write_video

SIDE = 96


def write_videos(folder: Path, count: int, frames: int = 48, first: int = 0) -> None:
    """Writes videos `0.mp4` and so on into subfolders `still`, `slow` and `wild`, in turn; made if missing.

    Args:
        folder: gets the subfolders.
        count: of videos.
        frames: of each.
        first: number of the first one; a video depends on its number alone.
    """
    for number in range(first, first + count):
        name, speed = (("still", 0.0), ("slow", 1.0), ("wild", 9.0))[number % 3]
        (folder / name).mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(number)
        write_video(folder / name / f"{number}.mp4", _video(frames, speed, generator), fps=24)


def _video(frames: int, speed: float, generator: torch.Generator) -> Tensor:
    """Frames `(F, 3, SIDE, SIDE)` uint8, in which things move by about `speed` pixels each."""
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    picture = F.interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(0, 1)[0].expand(frames, 3, SIDE, SIDE).clone()
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    time = torch.arange(frames)[:, None, None]
    for _ in range(5):
        place, step = torch.rand(2, generator=generator) * SIDE, (torch.rand(2, generator=generator) - 0.5) * 2 * speed
        radius, colour = 5 + 10 * torch.rand(1, generator=generator), torch.rand(3, generator=generator)
        down, right = ((place[axis] + step[axis] * time) % SIDE for axis in range(2))
        inside = (y - down) ** 2 + (x - right) ** 2 < radius**2  # (F, SIDE, SIDE)
        picture = torch.where(inside[:, None], colour[:, None, None], picture)
    return (picture * 255).round().to(torch.uint8)
