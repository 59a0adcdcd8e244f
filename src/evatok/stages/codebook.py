"""How a tokenizer's codebook starts and stays in use while it trains; a plain start collapses to a few codes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evatok.tokenizer.model import VideoTokenizer
from evatok.tokenizer.quantizer import VectorQuantizer
from evatok.tokenizer.start import start
from evatok.training.sharding import writable
from evatok.training.task import Trained
from evatok.utils.configs import check_between, check_least
from evatok.utils.ranks import gathered


@dataclass(frozen=True)
class CodebookConfig:
    """How the codebook starts and stays in use.

    Args:
        warmup: steps without quantization, after which the codebook is drawn from the encoder's outputs; 0 for a
            tokenizer with a sketch, whose codebook is fitted before the first step.
        window: steps over which use is counted; codes that a window did not use are drawn anew.
        groups: groups of training clips that a sketch and its codebook are fitted to.
    """

    warmup: int = 300
    window: int = 50
    groups: int = 64

    def __post_init__(self) -> None:
        check_least(self, 0, "warmup")
        check_least(self, 1, "window")
        check_between(self, 1, 2**16, "groups")


def fit_sketch(tokenizer: Trained[VideoTokenizer], videos: list[Tensor], generator: torch.Generator) -> None:
    """Fits sketch and codebook to groups of clips, each `(B, F, 3, H, W)` in [-1, 1]."""
    with writable(tokenizer.network):
        start(tokenizer.network, videos, generator)
        # Processors may round differently: all go on with what the first process found.
        found = gathered([weight.detach().cpu() for weight in tokenizer.network.parameters()])[0]
        with torch.no_grad():
            for weight, value in zip(tokenizer.network.parameters(), found, strict=True):
                weight.copy_(value)
    tokenizer.restart_average()


def draw_codes(
    tokenizer: Trained[VideoTokenizer],
    counts: Tensor | None,
    books: Tensor,
    features: Tensor,
    generator: torch.Generator,
) -> None:
    """Draws codes from what the encoder gives.

    Args:
        tokenizer: whose codebook is drawn.
        counts: how often each code was used: those that never were are drawn; None: all are.
        books: which codebook each feature belongs to, `(N,)`.
        features: finite ones before quantization, `(N, dim)`.
        generator: alike in all processes.
    """
    network = tokenizer.network
    assert isinstance(network.quantizer, VectorQuantizer)
    by_book = torch.zeros(network.config.codes, dtype=torch.int64) if counts is None else counts
    drawn = []
    with writable(network), torch.no_grad():
        for book, used in enumerate(by_book.tensor_split(network.quantizer.books)):
            own = features[books == book]
            if not len(own):  # such passes did not occur in this batch
                drawn.append(torch.zeros_like(used, dtype=torch.bool))
            elif counts is None:
                network.quantizer.draw(own, generator, book)
            else:
                drawn.append(network.quantizer.redraw_unused(used, own, generator, book))
    if tokenizer.average and counts is not None:
        tokenizer.average.restart_rows(network, "quantizer.codebook", torch.cat(drawn))


def all_items(features: Sequence[Tensor]) -> Tensor:
    """The features of every process's items, in the items' order, which is the same for any number of processes."""
    processes = gathered(list(features))
    return torch.cat([each for items in zip(*processes, strict=True) for each in items])
