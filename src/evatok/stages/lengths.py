"""Who gives training clips their lengths: chance (stage 1), or what a router knows (stage 4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evatok.allocation.predictors import table_of
from evatok.assignment import AssignmentSpace
from evatok.nn.packed import Layout
from evatok.router.model import Router

# Gives the clips of a batch `(B, F, 3, H, W)` in [-1, 1] their lengths, by what the generator draws.
Assigner = Callable[[Tensor, torch.Generator], Layout]


@dataclass(frozen=True)
class LengthsConfig:
    """Who gives each training clip its lengths, at a preference that is drawn for it.

    All three weigh LPIPS against tokens at the same price; they differ in what they know of the clip.

    Args:
        router: a trained router (a shipped name, a folder, a hub's repository). A classification knows one preference.
        by: `router`: the best assignment by what the router predicts of the clip (paper, stage 4); `best_fixed`: the
            assignment that is best by the mean over the router's training clips; `uniform`: the best uniform length
            by that mean.
        w_q: preference of quality over length in the proxy reward, above 0 and at most 2: one number, or a range from
            which each clip's is drawn, so that one tokenizer serves every preference in it.
    """

    router: str
    by: Literal["router", "best_fixed", "uniform"] = "router"
    w_q: float | tuple[float, float] = (0.4, 2.0)

    def __post_init__(self) -> None:
        if isinstance(self.w_q, list):
            object.__setattr__(self, "w_q", tuple(self.w_q))
        low, high = self.w_q_range
        if not 0 < low <= high <= 2:
            raise ValueError(f"w_q must be above 0 and at most 2, or a range within, got {self.w_q}")

    @property
    def w_q_range(self) -> tuple[float, float]:
        """Lowest and highest preference."""
        return self.w_q if isinstance(self.w_q, tuple) else (self.w_q, self.w_q)


@dataclass(frozen=True)
class RandomLengths:
    """Uniformly random assignments (`draw_layout`)."""

    space: AssignmentSpace

    def __call__(self, video: Tensor, generator: torch.Generator) -> Layout:
        """As `Assigner` says."""
        return draw_layout(self.space, len(video), generator, video.device.type)


def draw_layout(space: AssignmentSpace, clips: int, generator: torch.Generator, device: str) -> Layout:
    """Uniformly random assignments for the clips of a group.

    One for each clip (paper, section 3) on `cuda`, which takes mixed lengths in one call. One for all of them on any
    other type of device, where equal blocks are one piece of work and every other length is a piece of its own.
    """
    if device == "cuda":
        return Layout.of(space.sample(generator, clips).tolist())
    return Layout.of([space.sample(generator).tolist()] * clips)


class LengthsByRouter:
    """What a config says, by its router.

    Raises:
        ValueError: the router is of other assignments, does not know these preferences or, for other lengths than its
            own, predicts no LPIPS of blocks.
    """

    def __init__(self, config: LengthsConfig, space: AssignmentSpace) -> None:
        self.config = config
        self.router = Router.from_pretrained(config.router)
        if self.router.config.space != space:
            raise ValueError(
                f"lengths.router must be one for {space}; {config.router} is for {self.router.config.space}"
            )
        for w_q in config.w_q_range:
            self.router.price(w_q)
        self._mean = None if config.by == "router" else self._mean_table(space)

    def _mean_table(self, space: AssignmentSpace) -> Tensor:
        mean = self.router.mean_values
        if mean is None:
            head = self.router.config.head
            raise ValueError(f"lengths.by {self.config.by} needs a router that predicts LPIPS of blocks, not a {head}")
        table = table_of(mean[None], space)
        if self.config.by == "best_fixed":
            return table
        uniform = [space.index(space.uniform(level)) for level in space.levels]
        return torch.full_like(table, torch.inf).index_copy(1, torch.tensor(uniform), table[:, uniform])

    def __call__(self, video: Tensor, generator: torch.Generator) -> Layout:
        """As `Assigner` says."""
        low, high = self.config.w_q_range
        drawn = low + (high - low) * torch.rand(len(video), generator=generator, dtype=torch.float64)
        return Layout.of(self.at(video, drawn.tolist()).tolist())

    def at(self, video: Tensor, w_q: Sequence[float]) -> Tensor:
        """The lengths of clips `(B, F, 3, H, W)` at a preference for each, `(B, blocks)` int64."""
        known = self.router.to(video.device).table(video) if self._mean is None else self._mean.expand(len(video), -1)
        prices = [self.router.price(each) for each in w_q]
        return torch.cat([self.router.pick_from(t[None], price) for t, price in zip(known, prices, strict=True)])
