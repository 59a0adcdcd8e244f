"""A video at the lengths of several strategies: what each costs and brings."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evatok.allocation.predictors import table_of
from evatok.app.reading import KeptClips
from evatok.assignment import Assignment
from evatok.codec.scored import Reconstruction, Scored, reconstructed
from evatok.pretrained.lpips import LPIPS
from evatok.router.model import Router
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import VideoTokenizer


class AppModelError(ValueError):
    """A tokenizer that the web demo cannot show."""


@dataclass(frozen=True)
class Models:
    """What videos are tokenized and measured with.

    Args:
        tokenizer: with a router that knows every preference.
        lpips: the metric.
    """

    tokenizer: VideoTokenizer
    lpips: LPIPS

    @classmethod
    def load(cls, tokenizer: str) -> "Models":
        """The models by the tokenizer's name; AppModelError for one whose router cannot do what the demo shows."""
        model = VideoTokenizer.from_pretrained(tokenizer)
        if model.router is None or model.router.mean_values is None:
            what = "it has none" if model.router is None else f"its head is {model.router.config.head!r}"
            raise AppModelError(
                f"the web demo needs a router with the head 'prefix_regression', and of {tokenizer} {what}"
            )
        return cls(model, LPIPS.from_pretrained("alex"))

    @property
    def router(self) -> Router:
        """The tokenizer's."""
        assert self.tokenizer.router is not None
        return self.tokenizer.router

    @property
    def mean_values(self) -> Tensor:
        """LPIPS of each block under each prefix, on average over the clips that the router has learned from."""
        values = self.router.mean_values
        assert values is not None
        return values


def compare(models: Models, clips: KeptClips, request: LengthRequest) -> Reconstruction:
    """A video at the lengths that are asked for."""
    return reconstructed(models.tokenizer, clips, request, models.lpips)


def at_the_same_cost(models: Models, clips: KeptClips, router: Reconstruction) -> Iterator[tuple[str, Scored]]:
    """What others make of a video with as many tokens as its router has spent, by name, as soon as it is known.

    The best fixed lengths are those of a clip with the least mean LPIPS that cost no more. Uniform lengths are few: of
    the two next to the cost, what a mixture of clips at either would have on average.
    """
    config = models.tokenizer.config
    budget = router.scored.tokens / router.tokens.num_blocks * config.blocks
    yield "best fixed", compare(models, clips, LengthRequest(assignment=best_fixed(models, budget))).scored
    low = max((level for level in config.levels if level * config.blocks <= budget), default=config.levels[0])
    high = min((level for level in config.levels if level * config.blocks >= budget), default=config.levels[-1])
    fewer, more = (compare(models, clips, LengthRequest(uniform=level)).scored for level in (low, high))
    yield "uniform", mixed(fewer, more, router.scored.tokens)


def best_fixed(models: Models, budget: float) -> Assignment:
    """The assignment of at most so many tokens that is best for the mean of the router's training clips."""
    space = models.tokenizer.config.space
    table = table_of(models.mean_values[None], space)[0]
    return space.assignment(int(torch.where(space.costs <= budget, table, torch.inf).argmin()))


def mixed(fewer: Scored, more: Scored, tokens: int) -> Scored:
    """The scores between two of one video at a number of tokens: those of a mixture of clips, on average."""
    distance = more.tokens - fewer.tokens
    share = min(1.0, max(0.0, (tokens - fewer.tokens) / distance)) if distance else 0.0

    def between(name: str) -> float | None:
        low, high = getattr(fewer, name), getattr(more, name)
        return None if low is None or high is None else (1 - share) * low + share * high

    names = ("tokens_per_second", "bits_per_pixel", "psnr", "ssim", "lpips")
    exact = round((1 - share) * fewer.tokens + share * more.tokens)
    return replace(
        fewer,
        assignment=" or ".join(dict.fromkeys((fewer.assignment, more.assignment))),
        tokens=exact,
        **{name: between(name) for name in names},  # type: ignore[arg-type]
    )
