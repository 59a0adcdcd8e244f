"""How many tokens each block of each clip gets: as it is said, or as a router says."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, get_args

import torch
from torch import Tensor

from evatok.allocation.budget import lowest_price
from evatok.allocation.predictors import blocks_of
from evatok.assignment import AssignmentError
from evatok.router.model import Router
from evatok.tokenizer.beam import LengthsByBeam, Metric
from evatok.tokenizer.clips import ClipChunk, ClipReader
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.network import TokenizerNetwork

log = logging.getLogger(__name__)

Lengths = Sequence[int] | Tensor
_ONE_OF = ("assignment", "uniform", "w_q", "tokens", "tokens_per_second")


@dataclass(frozen=True)
class LengthRequest:
    """What is asked for, at most one of these; where nothing is, the tokenizer does what it holds best.

    Args:
        assignment: tokens of each block of a clip: `(T,)` for all videos, or `(B, T)`. A shorter clip takes its
            beginning.
        uniform: tokens of every block.
        w_q: preference of quality over length in the proxy reward, above 0 (fewest tokens) and at most 2.
        tokens: mean tokens of a clip, by a price that is stored with the router: clips like those that it was
            calibrated on take so many on average, others more or fewer.
        tokens_per_second: what a second of each video may take at most, on average over the video, by one price for
            all its clips. The video is read twice; with a beam once for every price that is tried, about eight times.
        beam: how many prefixes of a clip's lengths are followed by measuring, 0 for none: the router alone. It serves
            `w_q`, `tokens` and `tokens_per_second`, and none of them, and takes fewer tokens for more time: of each
            block about twice as many versions are encoded, decoded and compared.
        beam_metric: what is measured: LPIPS by AlexNet (`alex`) or VGG16 (`vgg`), or `mse` where the weights of LPIPS
            are not wanted; None: LPIPS by the network that the router has learned from.
        prefix: tokens of the first blocks of every clip, to which the router chooses the rest: with `w_q`, `tokens` or
            none of them. What goes on from given frames has them so (paper, section 5). A shorter clip takes its
            beginning.
    """

    assignment: Lengths | None = None
    uniform: int | None = None
    w_q: float | None = None
    tokens: float | None = None
    tokens_per_second: float | None = None
    beam: int = 0
    beam_metric: Metric | None = None
    prefix: Sequence[int] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", tuple(self.prefix))
        given = self._given()
        if len(given) > 1:
            raise ValueError(f"at most one of {', '.join(_ONE_OF)} can be asked for, got {' and '.join(given)}")
        if type(self.beam) is not int or self.beam < 0:
            raise ValueError(f"beam must be a whole number from 0 on, got {self.beam!r}")
        if self.beam and given and given[0] in ("assignment", "uniform"):
            raise ValueError(f"beam chooses lengths, which {given[0]} gives: ask for one of them")
        if self.beam_metric not in (None, *get_args(Metric)):
            raise ValueError(f"beam_metric must be one of {', '.join(get_args(Metric))}, got {self.beam_metric!r}")
        if (
            self.prefix
            and (others := [*(["beam"] if self.beam else []), *given])
            and others[0] not in ("w_q", "tokens")
        ):
            raise ValueError(f"prefix leaves the rest to the router, with w_q, tokens or neither; got {others[0]} too")

    def _given(self) -> list[str]:
        return [name for name in _ONE_OF if getattr(self, name) is not None]

    def policy(self, network: TokenizerNetwork, router: Router | None, clips: ClipReader) -> "LengthPolicy":
        """What gives clips the lengths that are asked for.

        Args:
            network: the tokenizer.
            router: the tokenizer's, if it has one.
            clips: of the videos, which are read here only for `tokens_per_second`.

        Raises:
            ValueError: for an assignment, preference or budget that cannot be, or where there is no router to ask.
        """
        config = network.config
        assignment = self.assignment if self.uniform is None else config.space.uniform(self.uniform)
        if assignment is None and router is not None:
            if self.beam:
                return self._by_beam(network, router, clips)
            if self.tokens_per_second is not None:
                return _at_rate(self.tokens_per_second, router, clips)
            price = router.price(self.w_q) if self.tokens is None else router.price_for(self.tokens)
            return LengthsByPrice(router, price, config.space.check(self.prefix) if self.prefix else ())
        if assignment is None:
            if given := [*self._given(), *(name for name in ("beam", "prefix") if getattr(self, name))]:
                raise ValueError(
                    f"{given[0]} needs a router and this tokenizer has none: ask for an assignment, or give it one "
                    "with `set_router(Router.from_pretrained(...))`"
                )
            assignment = config.default_assignment
            log.info("no assignment given: taking the default %s", assignment)
        return FixedLengths(full_assignments(assignment, config, clips.videos), config.block_frames)

    def _by_beam(self, network: TokenizerNetwork, router: Router, clips: ClipReader) -> "LengthPolicy":
        router.check_budgets()

        def at(prices: Sequence[float]) -> LengthsByBeam:
            return LengthsByBeam(network, router, self.beam, prices, self.beam_metric)

        if self.tokens_per_second is not None:
            return _measured_at_rate(self.tokens_per_second, at, router, clips)
        price = router.price(self.w_q) if self.tokens is None else router.price_for(self.tokens, self.beam)
        return at([price] * clips.videos)


class LengthPolicy(Protocol):
    """Gives every clip its lengths."""

    def lengths(self, chunk: ClipChunk) -> Tensor:
        """Tokens of each block of a chunk's clips, `(n, blocks)` int64; chunks come in the order of their reader."""


def full_assignments(assignment: Lengths, config: TokenizerConfig, videos: int) -> Tensor:
    """Full assignments of all videos, `(videos, T)` int64; AssignmentError for what is none."""
    lengths, blocks = torch.as_tensor(assignment), config.blocks
    if lengths.is_floating_point() or lengths.shape not in ((blocks,), (videos, blocks)):
        raise AssignmentError(
            f"assignment must be integers of shape ({blocks},) or ({videos}, {blocks}), "
            f"got {lengths.dtype} {tuple(lengths.shape)}"
        )
    lengths = lengths.expand(videos, blocks)
    for row in lengths.tolist():
        config.space.check(row)
    return lengths


@dataclass(frozen=True)
class FixedLengths:
    """Every clip of a video has the same lengths, `(videos, T)`; a shorter one takes their beginning."""

    assignments: Tensor
    block_frames: int

    def lengths(self, chunk: ClipChunk) -> Tensor:
        """As `LengthPolicy.lengths` says."""
        blocks = -(-chunk.clips.shape[1] // self.block_frames)
        return self.assignments[chunk.videos, :blocks]


@dataclass(frozen=True)
class LengthsByPrice:
    """Every clip has what its router picks at a price of a token, after the same first lengths."""

    router: Router
    price: float
    prefix: Sequence[int] = ()

    def lengths(self, chunk: ClipChunk) -> Tensor:
        """As `LengthPolicy.lengths` says."""
        blocks = blocks_of(chunk.clips, self.router.config.patch[0])
        return self.router.pick(chunk.clips, self.price, self.prefix[:blocks])


@dataclass(frozen=True)
class LengthsInOrder:
    """Every clip has what was found for it before, one after the other of each video."""

    found: list[list[Tensor]]

    def lengths(self, chunk: ClipChunk) -> Tensor:
        """As `LengthPolicy.lengths` says."""
        return torch.stack([self.found[video].pop(0) for video in chunk.videos])


def _at_rate(rate: float, router: Router, clips: ClipReader) -> LengthsInOrder:
    """Reads the clips once for their tables, and picks from these at each video's price."""
    router.check_budgets()
    tables: dict[int, list[Tensor]] = {}
    for chunk in clips.chunks():
        for video, table in zip(chunk.videos, router.table(chunk.clips), strict=True):
            tables.setdefault(video, []).append(table)
    found = []
    for video, record in enumerate(clips.records()):
        price = _price(rate, router, tables[video], record.seconds)
        found.append([router.pick_from(table[None], price)[0] for table in tables[video]])
    return LengthsInOrder(found)


def _price(rate: float, router: Router, tables: list[Tensor], seconds: float) -> float:
    """The lowest price at which the clips of a video keep to a rate."""
    # Only the last clip may have fewer blocks.
    same = [table for table in tables if len(table) == len(tables[0])]
    groups = [torch.stack(group) for group in (same, tables[len(same) :]) if group]

    def spent(price: float) -> int:
        return sum(int(router.pick_from(group, price).sum()) for group in groups)

    least = sum(group.shape[0] * router.fewest(group.shape[1]) for group in groups)
    if not least <= rate * seconds:
        shortest = f"{least / seconds:.1f}, which the shortest assignments take"
        raise ValueError(f"tokens_per_second must be at least {shortest}, got {rate:g}")
    return lowest_price(lambda price: spent(price) <= rate * seconds)


def _measured_at_rate(
    rate: float, at: Callable[[Sequence[float]], LengthsByBeam], router: Router, clips: ClipReader
) -> LengthsInOrder:
    """What a beam finds at the lowest of the stored prices at which each video keeps to a rate."""
    prices = router.calibration.prices

    def found(places: Sequence[int]) -> list[list[Tensor]]:
        policy, rows = at([prices[place] for place in places]), [list[Tensor]() for _ in places]
        for chunk in clips.chunks():
            for video, lengths in zip(chunk.videos, policy.lengths(chunk), strict=True):
                rows[video].append(lengths)
        return rows

    low, high = [0] * clips.videos, [len(prices) - 1] * clips.videos
    best = found(high)
    most = [rate * record.seconds for record in clips.records()]
    for video, rows in enumerate(best):
        least, seconds = sum(int(row.sum()) for row in rows), clips.records()[video].seconds
        if least > most[video]:
            shortest = f"{least / seconds:.1f}, which the shortest lengths that it finds take"
            raise ValueError(f"tokens_per_second must be at least {shortest}, got {rate:g}")
    while low != high:
        middle = [(a + b) // 2 for a, b in zip(low, high, strict=True)]
        for video, rows in enumerate(found(middle)):
            if sum(int(row.sum()) for row in rows) <= most[video]:
                best[video], high[video] = rows, middle[video]
            else:
                low[video] = middle[video] + 1
    return LengthsInOrder(best)
