"""x264 beside a tokenizer: its best reconstruction of the same clips that takes no more bits than the tokens."""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from tqdm import tqdm

from evatok.assignment import Assignment
from evatok.data.clips import ClipBatch
from evatok.data.fit import to_signed
from evatok.evaluation.metrics import clip_psnr, ssim
from evatok.evaluation.x264 import COARSEST, PROTOCOL, Coded, through_x264
from evatok.pretrained.lpips import LPIPS


@dataclass(frozen=True)
class CodecScores:
    """Means over the clips of a source, each at the finest setting whose bits do not exceed those of the tokens.

    Args:
        assignment: tokens of each block, whose bits are not exceeded.
        budget: bits of a clip's tokens: their number times the logarithm to base 2 of the number of codes.
        reached: share of the clips that can be had within the budget, 0 to 1.
        bits: bits of a clip that were used; None, like all scores, unless every clip can be had.
        psnr: in dB, higher is better.
        ssim: at most 1, higher is better.
        lpips: 0 and above, lower is better.
    """

    assignment: Assignment
    budget: float
    reached: float
    bits: float | None
    psnr: float | None
    ssim: float | None
    lpips: float | None


@dataclass(frozen=True)
class CodecResult:
    """How x264 does within the bits of tokens.

    Args:
        protocol: what was encoded and how bits are counted, in one line.
        sources: by source the scores at each assignment.
    """

    protocol: str
    sources: dict[str, tuple[CodecScores, ...]]

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Self:
        """The result that `asdict` and JSON turned into `entries`; KeyError or TypeError where they do not fit."""
        sources = {
            name: tuple(CodecScores(**{**each, "assignment": tuple(each["assignment"])}) for each in rows)
            for name, rows in entries["sources"].items()
        }
        return cls(entries["protocol"], sources)


@torch.no_grad()
def x264_at_equal_bits(
    sources: Mapping[str, ClipBatch],
    assignments: Sequence[Assignment],
    codes: int,
    lpips: LPIPS,
    *,
    progress: bool = False,
) -> CodecResult:
    """Scores of x264 on clips, at no more bits than the tokens of each assignment take.

    Args:
        sources: clips, uint8, by the name of their source; at least one each.
        assignments: tokens of each block.
        codes: number of the tokenizer's codes.
        lpips: the network of LPIPS with its published weights.
        progress: whether a progress bar is shown.
    """
    budgets = [sum(assignment) * math.log2(codes) for assignment in assignments]
    found = {}
    with tqdm(total=sum(map(len, sources.values())), unit="clip", desc="x264", disable=not progress) as bar:
        for name, batch in sources.items():
            clips = []
            for clip in batch.video:
                clips.append(_within(budgets, clip, lpips))
                bar.update()
            rows = zip(assignments, budgets, zip(*clips, strict=True), strict=True)
            found[name] = tuple(_means(tuple(assignment), budget, row) for assignment, budget, row in rows)
    return CodecResult(f"{PROTOCOL}; the finest step that takes no more bits than the tokens", found)


class _Point(NamedTuple):
    """What x264 makes of a clip at one setting."""

    bits: float
    psnr: float
    ssim: float
    lpips: float


def finest_within(budget: float, coded: Callable[[int], Coded]) -> int | None:
    """The finest rate factor whose bits do not exceed a budget, None where the coarsest does.

    Bits are taken to fall with the rate factor. Where they do not quite, a finer one may be missed, but what is
    found is within the budget.
    """
    crf = bisect_left(range(COARSEST + 1), True, key=lambda crf: coded(crf).bits <= budget)
    return crf if crf <= COARSEST else None


def _within(budgets: Sequence[float], clip: Tensor, lpips: LPIPS) -> list[_Point | None]:
    """The best of a clip `(F, 3, H, W)` at each budget, None where there is none."""
    coded = cache(lambda crf: through_x264(clip, crf))
    chosen = [finest_within(budget, coded) for budget in budgets]
    device = lpips.shift.device
    original = clip.to(device)
    features = lpips.features(to_signed(original))

    @cache
    def point(crf: int) -> _Point:
        bits, video = coded(crf)
        video = video.to(device)
        distance = lpips.distance(features, lpips.features(to_signed(video))).mean().item()
        return _Point(bits, clip_psnr(original, video).item(), ssim(original, video).mean().item(), distance)

    return [None if crf is None else point(crf) for crf in chosen]


def _means(assignment: Assignment, budget: float, points: Sequence[_Point | None]) -> CodecScores:
    there = [point for point in points if point is not None]
    reached = len(there) / len(points)
    if len(there) < len(points):
        return CodecScores(assignment, budget, reached, None, None, None, None)
    return CodecScores(assignment, budget, reached, *(sum(column) / len(there) for column in zip(*there, strict=True)))
