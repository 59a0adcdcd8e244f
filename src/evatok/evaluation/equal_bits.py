"""x264 beside a tokenizer: its best reconstruction of the same clips that takes no more bits than the tokens."""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from evatok.assignment import Assignment
from evatok.data.clips import ClipBatch
from evatok.evaluation.metrics import clip_psnr, ssim
from evatok.evaluation.x264 import COARSEST, PROTOCOL, Coded, through_x264
from evatok.pretrained.lpips import LPIPS
from evatok.video.fit import to_signed


@dataclass(frozen=True)
class CodecMeans:
    """Means over clips.

    Args:
        bits: bits of a clip.
        psnr: in dB, higher is better.
        ssim: at most 1, higher is better.
        lpips: 0 and above, lower is better.
    """

    bits: float
    psnr: float
    ssim: float
    lpips: float


@dataclass(frozen=True)
class CodecScores:
    """How x264 does on the clips of a source, each at its finest setting within the bits of an assignment's tokens.

    Args:
        assignment: tokens of each block, whose bits are not exceeded.
        budget: bits of a clip's tokens: their number times the logarithm to base 2 of the number of codes.
        reached: share of the clips that can be had within the budget, 0 to 1.
        within: means over the clips; None unless all of them can be had, for the others are the easy ones.
        closest: means where clips that cannot be had count at the coarsest setting, with more bits than the tokens;
            equal to `within` where there is none such.
    """

    assignment: Assignment
    budget: float
    reached: float
    within: CodecMeans | None
    closest: CodecMeans


@dataclass(frozen=True)
class CodecResult:
    """How x264 does within the bits of tokens.

    Args:
        protocol: what was encoded and how bits are counted, in one line.
        sources: by source the scores at each assignment.
    """

    protocol: str
    sources: dict[str, tuple[CodecScores, ...]]


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
                clips.append(_choices(budgets, clip, lpips))
                bar.update()
            rows = zip(assignments, budgets, zip(*clips, strict=True), strict=True)
            found[name] = tuple(_scores(tuple(assignment), budget, row) for assignment, budget, row in rows)
    return CodecResult(f"{PROTOCOL}; the finest step that takes no more bits than the tokens", found)


class _Choice(NamedTuple):
    """What is taken for a clip at a budget, and whether it is within it."""

    within: bool
    scores: CodecMeans


def finest_within(budget: float, coded: Callable[[int], Coded]) -> int | None:
    """The finest rate factor whose bits do not exceed a budget, None where the coarsest does.

    Bits are taken to fall with the rate factor. Where they do not quite, a finer one may be missed, but what is
    found is within the budget.
    """
    crf = bisect_left(range(COARSEST + 1), True, key=lambda crf: coded(crf).bits <= budget)
    return crf if crf <= COARSEST else None


def _choices(budgets: Sequence[float], clip: Tensor, lpips: LPIPS) -> list[_Choice]:
    """What is taken for a clip `(F, 3, H, W)` at each budget: the coarsest setting where none is within it."""
    coded = cache(lambda crf: through_x264(clip, crf))
    found = [finest_within(budget, coded) for budget in budgets]
    device = lpips.shift.device
    original = clip.to(device)
    features = lpips.features(to_signed(original))

    @cache
    def scores(crf: int) -> CodecMeans:
        bits, video = coded(crf)
        video = video.to(device)
        distance = lpips.distance(features, lpips.features(to_signed(video))).mean().item()
        return CodecMeans(bits, clip_psnr(original, video).item(), ssim(original, video).mean().item(), distance)

    return [_Choice(crf is not None, scores(COARSEST if crf is None else crf)) for crf in found]


def _scores(assignment: Assignment, budget: float, choices: Sequence[_Choice]) -> CodecScores:
    columns = zip(*(astuple(choice.scores) for choice in choices), strict=True)
    closest = CodecMeans(*(sum(column) / len(choices) for column in columns))
    reached = sum(choice.within for choice in choices) / len(choices)
    return CodecScores(assignment, budget, reached, closest if reached == 1 else None, closest)
