"""x264 at no more bits than tokens: what is chosen, what is averaged, and what is left out."""

import json
import math
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from evatok.data.clips import ClipBatch
from evatok.evaluation.equal_bits import CodecResult, finest_within, x264_at_equal_bits
from evatok.evaluation.metrics import clip_psnr, clip_scores
from evatok.evaluation.x264 import COARSEST, Coded, through_x264
from evatok.pretrained.lpips import LPIPS
from evatok.utils.configs import from_dict

LONG, SHORT = (128, 128, 64, 64), (1, 1, 1, 1)
CODES = 1024


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    return LPIPS.from_pretrained("alex")


@pytest.fixture(scope="module")
def clips() -> Tensor:
    """Two pictures, one still and one moving, `(2, 16, 3, 32, 32)`."""
    coarse = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 255
    still, moving = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear").round().byte()
    return torch.stack([still.expand(16, 3, 32, 32), torch.stack([moving.roll(t, 2) for t in range(16)])])


def named(clips: Tensor) -> ClipBatch:
    return ClipBatch(clips, torch.full((len(clips),), -1), [str(i) for i in range(len(clips))])


@pytest.fixture(scope="module")
def result(clips: Tensor, lpips: LPIPS) -> CodecResult:
    return x264_at_equal_bits({"both": named(clips)}, [LONG, SHORT], CODES, lpips)


def test_scores_are_those_of_the_finest_setting_within_the_budget(
    clips: Tensor, lpips: LPIPS, result: CodecResult
) -> None:
    row, budget = result.sources["both"][0], sum(LONG) * 10
    chosen = []
    for clip in clips:
        every = [through_x264(clip, crf) for crf in range(COARSEST + 1)]
        chosen.append(next(coded for coded in every if coded.bits <= budget))
    expected = clip_scores(clips, torch.stack([coded.video for coded in chosen]), lpips)
    assert (row.budget, row.reached) == (budget, 1)
    assert row.within == row.closest
    assert row.closest.bits == pytest.approx(sum(coded.bits for coded in chosen) / 2)
    assert row.closest.bits <= budget
    assert row.closest.psnr == pytest.approx(expected.psnr.mean().item(), abs=1e-3)
    assert row.closest.ssim == pytest.approx(expected.ssim.mean().item(), abs=1e-4)
    assert row.closest.lpips == pytest.approx(expected.lpips.mean().item(), abs=1e-4)


def test_out_of_reach_is_said(clips: Tensor, result: CodecResult) -> None:
    row = result.sources["both"][1]
    assert (row.assignment, row.budget, row.reached) == (SHORT, 40, 0)
    assert row.within is None
    coarsest = [through_x264(clip, COARSEST) for clip in clips]
    assert row.closest.bits == sum(coded.bits for coded in coarsest) / 2
    expected = clip_psnr(clips, torch.stack([coded.video for coded in coarsest]))
    assert row.closest.psnr == pytest.approx(expected.mean().item(), abs=1e-3)


def test_no_means_over_a_part_of_the_clips(clips: Tensor, lpips: LPIPS) -> None:
    coarsest = [through_x264(clip, COARSEST).bits for clip in clips]
    assert coarsest[0] < coarsest[1]
    tokens = math.ceil(coarsest[0] / 10)
    (row,) = x264_at_equal_bits({"both": named(clips)}, [(tokens,)], CODES, lpips).sources["both"]
    assert row.reached == 0.5 and row.within is None
    assert coarsest[1] / 2 < row.closest.bits <= (tokens * 10 + coarsest[1]) / 2


@pytest.mark.parametrize("budget", [0, 9, 10, 137, 520, 521, 10_000])
def test_budget_is_kept_whatever_the_bits(budget: int) -> None:
    def bits(crf: int) -> int:
        return 10 * (COARSEST + 1 - crf) + 25 * (crf % 3 == 0)  # up and down

    found = finest_within(budget, lambda crf: Coded(bits(crf), torch.empty(0)))
    if found is None:
        assert bits(COARSEST) > budget
    else:
        assert bits(found) <= budget


def test_goes_through_json(result: CodecResult) -> None:
    assert from_dict(CodecResult, json.loads(json.dumps(asdict(result)))) == result
