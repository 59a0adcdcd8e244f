"""Metrics against closed forms and another implementation, and their accumulation."""

import math

import pytest
import torch
from torch import Tensor

from evatok.evaluation import metrics
from evatok.evaluation.metrics import ReconstructionMetrics, clip_psnr, clip_scores, protocol_of, ssim
from evatok.pretrained.lpips import LPIPS


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    return LPIPS.from_pretrained("alex")


def clips(count: int, frames: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random clips and noisy copies, uint8 ``(count, frames, 3, 40, 32)``."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (count, frames, 3, 40, 32), generator=generator)
    y = (x + torch.randint(-30, 31, x.shape, generator=generator)).clamp(0, 255)
    return x.to(torch.uint8), y.to(torch.uint8)


def test_psnr_of_a_constant_error() -> None:
    x = torch.full((3, 2, 3, 8, 8), 100, dtype=torch.uint8)
    y = x.clone()
    y[0] += 1
    y[1] -= 5
    expected = [20 * math.log10(255), 20 * math.log10(255 / 5), 100]
    assert clip_psnr(x, y).tolist() == pytest.approx(expected, abs=1e-4)


def test_psnr_of_a_clip_is_that_of_its_mean_error() -> None:
    x = torch.full((1, 2, 3, 8, 8), 100, dtype=torch.uint8)
    y = x.clone()
    y[0, 1] += 10
    assert clip_psnr(x, y).tolist() == pytest.approx([10 * math.log10(255**2 / 50)], abs=1e-4)


def test_ssim_of_constant_images() -> None:
    x = torch.full((1, 3, 11, 11), 100, dtype=torch.uint8)
    y = torch.full((1, 3, 11, 11), 160, dtype=torch.uint8)
    c1 = 2.55**2
    expected = (2 * 100 * 160 + c1) / (100**2 + 160**2 + c1)
    assert ssim(x, y).tolist() == pytest.approx([expected], abs=1e-4)


def test_ssim_agrees_with_scikit_image() -> None:
    theirs = pytest.importorskip("skimage.metrics").structural_similarity
    x, y = clips(1, frames=3)
    for frame in range(3):
        _, full = theirs(
            x[0, frame].double().numpy(),
            y[0, frame].double().numpy(),
            channel_axis=0,
            data_range=255,
            gaussian_weights=True,
            use_sample_covariance=False,
            full=True,
        )
        inside = full[:, 5:-5, 5:-5].mean()
        assert ssim(x[0, frame], y[0, frame]).item() == pytest.approx(inside, abs=1e-5)


def test_float_pixels_are_rounded_and_clamped() -> None:
    original, copy = clips(2)
    as_float = copy.float() / 127.5 - 1 + 0.3 / 127.5
    torch.testing.assert_close(clip_psnr(original, as_float), clip_psnr(original, copy), rtol=0, atol=0)
    torch.testing.assert_close(ssim(original, as_float), ssim(original, copy), rtol=0, atol=0)


def test_scores_are_means_over_frames(lpips: LPIPS) -> None:
    x, y = clips(2, frames=3)
    scores = clip_scores(x, y, lpips)
    torch.testing.assert_close(scores.psnr, clip_psnr(x, y))
    torch.testing.assert_close(scores.ssim, torch.stack([ssim(x[i], y[i]).mean() for i in range(2)]))
    distances = [lpips(x[i] / 127.5 - 1, y[i] / 127.5 - 1).mean() for i in range(2)]
    torch.testing.assert_close(scores.lpips, torch.stack(distances))


def test_scores_are_the_same_under_autocast_and_in_pieces(lpips: LPIPS, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clips(2, frames=3)
    whole = clip_scores(x, y, lpips)
    monkeypatch.setattr(metrics, "_PIXELS_AT_ONCE", 2 * 40 * 32)
    with torch.autocast("cpu", torch.bfloat16):
        pieces = clip_scores(x, y, lpips)
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_identical_clips(lpips: LPIPS) -> None:
    x, _ = clips(1)
    scores = clip_scores(x, x.float() / 127.5 - 1, lpips)
    assert scores.psnr.tolist() == [100]
    assert scores.ssim.tolist() == pytest.approx([1], abs=1e-6)
    assert scores.lpips.tolist() == [0]


def test_batching_does_not_change_the_means(lpips: LPIPS) -> None:
    x, y = clips(3)
    longer_x, longer_y = clips(1, frames=5, seed=1)
    scores = [clip_scores(x, y, lpips), clip_scores(longer_x, longer_y, lpips)]
    expected = [torch.cat(parts).mean().item() for parts in zip(*scores, strict=True)]

    measured = ReconstructionMetrics(lpips)
    for part in ((x[:1], y[:1]), (x[1:], y[1:]), (longer_x, longer_y)):
        measured.update(*part)
    found = measured.compute()
    assert [found["psnr"], found["ssim"], found["lpips"]] == pytest.approx(expected, rel=1e-5)


def test_the_protocol_says_what_was_measured(lpips: LPIPS) -> None:
    measured = ReconstructionMetrics(lpips)
    assert measured.compute() == {} and not measured.resolutions
    x, _ = clips(2)
    measured.update(x, x)
    protocol = protocol_of(lpips, measured.resolutions)
    assert "40x32" in protocol and "alex" in protocol
    assert measured.compute()["psnr"] == 100


def test_wrong_pixels_are_errors(lpips: LPIPS) -> None:
    x, y = clips(1)
    with pytest.raises(ValueError, match=r"\[0, 255\]"):
        clip_scores(
            torch.full((1, 1, 3, 40, 40), 255.0).index_fill(4, torch.tensor(0), 0),
            torch.zeros(1, 1, 3, 40, 40),
            lpips,
        )
    with pytest.raises(ValueError, match="int64"):
        clip_psnr(x.long(), y)
    with pytest.raises(ValueError, match="not finite"):
        clip_psnr(x, torch.full(x.shape, math.nan))
    with pytest.raises(ValueError, match="both"):
        clip_psnr(x, y[:, :1])
    with pytest.raises(ValueError, match=r"B, F, 3, H, W"):
        clip_scores(x[0], y[0], lpips)
    with pytest.raises(ValueError, match="at least 11"):
        ssim(x[..., :10], y[..., :10])
