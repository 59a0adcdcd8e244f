"""FVD: what raises it, how it accumulates, alone and over processes."""

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from evatok.evaluation.fvd import FVD, FVDScores, fvd_features, fvd_scores
from evatok.pretrained.i3d import I3D


@pytest.fixture(scope="module")
def i3d() -> I3D:
    return I3D.from_pretrained()


def moving(count: int, seed: int = 0) -> Tensor:
    """Blocks of colour that move to the right, uint8 ``(count, 9, 3, 32, 32)``."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    wide = pictures.repeat_interleave(4, 2).repeat_interleave(4, 3)
    return torch.stack([wide.roll(3 * t, 3) for t in range(9)], 1)


def features(count: int, seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(count, 400, generator=torch.Generator().manual_seed(seed))


def numbers(scores: FVDScores) -> list[float]:
    return [*scores.fvd_interval, scores.fvd_floor or 0, *(part for part in scores if isinstance(part, float | int))]


@pytest.fixture(scope="module")
def clips() -> Tensor:
    return moving(3)


@pytest.fixture(scope="module")
def real(i3d: I3D, clips: Tensor) -> Tensor:
    return fvd_features(i3d, clips)


def test_blur_noise_and_shuffled_frames_raise_it(i3d: I3D, clips: Tensor, real: Tensor) -> None:
    signed = clips.float() / 127.5 - 1
    noise = torch.randn(signed.shape, generator=torch.Generator().manual_seed(1))
    blurred = F.avg_pool3d(F.pad(signed, (4, 4, 4, 4, 0, 0), mode="replicate"), (1, 9, 9), stride=1)
    order = torch.tensor([4, 0, 7, 2, 8, 5, 1, 6, 3])
    worse = {
        "little noise": signed + 0.05 * noise,
        "much noise": signed + 0.4 * noise,
        "blur": blurred,
        "shuffled": signed[:, order],
    }
    fvd = {name: fvd_scores(real, fvd_features(i3d, video), paired=True).fvd for name, video in worse.items()}
    itself = fvd_scores(real, real, paired=True)
    assert itself.fvd == pytest.approx(0, abs=1e-6) and itself.kvd == pytest.approx(0, abs=1e-6)
    assert 0.1 < fvd["little noise"] < fvd["much noise"]
    assert min(fvd["blur"], fvd["shuffled"]) > 1


def test_features_are_those_of_the_pixels_shown_in_any_batch(i3d: I3D, clips: Tensor, real: Tensor) -> None:
    shown = clips[:1].float() / 127.5 - 1
    with torch.autocast("cpu", torch.bfloat16):
        found = fvd_features(i3d, (shown + 0.3 / 127.5) * (1 + 1e-4))
    torch.testing.assert_close(found, real[:1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(i3d.logits(shown), real[:1], rtol=1e-3, atol=1e-3)


def test_videos_and_their_features_accumulate_alike(i3d: I3D, clips: Tensor, real: Tensor) -> None:
    metric = FVD(i3d, seed=3)
    metric.update(clips[:1], real=True)
    metric.update(real[1:], real=True)
    for part in features(6, seed=1).split(4):
        metric.update(part, real=False)
    found, expected = metric.compute(), fvd_scores(real, features(6, seed=1), seed=3)
    assert isinstance(found, FVDScores)
    assert found.fvd == pytest.approx(expected.fvd, rel=1e-4)
    assert (found.real_clips, found.fake_clips, found.floor_clips, found.paired) == (3, 6, 0, False)
    assert "3 against 6 clips" in found.protocol and "224x224" in found.protocol

    metric.reset()
    for fake in (True, False):
        metric.update(features(5, seed=2), real=not fake)
    assert metric.compute().real_clips == metric.compute().fake_clips == 5


def test_scores_of_one_distribution_and_of_two() -> None:
    real, same, other = features(300, 0), features(150, 1), features(150, 2, scale=2)
    one, two = fvd_scores(real, same), fvd_scores(real, other)
    assert one.floor_clips == two.floor_clips == 150
    assert one.fvd_floor is not None and 0.7 < one.fvd / one.fvd_floor < 1.1 < two.fvd / one.fvd
    assert abs(one.kvd) < 4 * one.kvd_std and two.kvd > 4 * two.kvd_std
    for scores in (one, two):
        assert scores.fvd_infinity < scores.fvd_interval.low < scores.fvd < scores.fvd_interval.high
    assert numbers(fvd_scores(real, same)) == pytest.approx(numbers(one), rel=1e-6)
    assert fvd_scores(real, same, seed=1).fvd_infinity != pytest.approx(one.fvd_infinity, rel=1e-6)
    assert fvd_scores(real[:3], same).fvd_floor is None


def test_bad_clips_are_errors() -> None:
    metric = FVD(I3D(), paired=True)
    for bad, said in (
        (torch.zeros(1, 9, 3, 32, 32, dtype=torch.int64), "got torch.int64"),
        (torch.full((1, 9, 3, 32, 32), torch.nan), "not finite"),
        (torch.full((1, 9, 3, 32, 32), 200.0), r"must lie in \[-1, 1\], got \[200, 200\]"),
        (torch.zeros(9, 3, 32, 32), r"got torch.uint8 \(9, 3, 32, 32\)"),
        (torch.zeros(1, 8, 3, 32, 32), "at least 9 frames"),
        (torch.zeros(2, 1024), r"\(B, 400\), got \(2, 1024\)"),
    ):
        with pytest.raises(ValueError, match=said):
            metric.update(bad, real=True)
    metric.update(features(3, 0), real=True)
    with pytest.raises(ValueError, match="two clips or more on each side, got 3 and 0"):
        metric.compute()
    metric.update(features(2, 0), real=False)
    with pytest.raises(ValueError, match="as many clips on each side, got 3 and 2"):
        metric.compute()


def measure_part(rank: int, folder: Path) -> None:
    """Writes what a process computes whose parts are unequal; the second has nothing of one side."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    metric = FVD(I3D())
    real, fake = features(7, 0), features(6, 1)
    for part in (real[:2], real[2:4]) if rank == 0 else (real[4:],):
        metric.update(part, real=True)
    if rank == 0:
        metric.update(fake, real=False)
    (folder / f"{rank}.json").write_text(json.dumps(numbers(metric.compute())))
    dist.destroy_process_group()


def test_two_processes_measure_what_one_does(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(measure_part, (tmp_path,), nprocs=2)
    expected = numbers(fvd_scores(features(7, 0), features(6, 1)))
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == pytest.approx(expected, rel=1e-6)
