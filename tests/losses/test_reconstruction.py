"""The reconstruction loss."""

import pytest
import torch

from evatok.losses.reconstruction import ReconstructionLoss, ReconstructionLossConfig


def clips(seed: int) -> torch.Tensor:
    return torch.rand(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_terms_are_weighted_means() -> None:
    video = clips(0)
    loss = ReconstructionLoss(ReconstructionLossConfig(l1=2.0, perceptual=0.5, lpips_net="alex"))
    terms = loss(video + 0.25, video, torch.Generator())
    assert terms["l1"].item() == pytest.approx(0.5, abs=1e-5)
    assert loss.lpips is not None
    wanted = 0.5 * loss.lpips((video + 0.25).flatten(0, 1), video.flatten(0, 1)).mean()
    torch.testing.assert_close(terms["lpips"], wanted)


def test_nothing_is_lost_between_equal_videos_and_the_gradient_is_finite() -> None:
    loss = ReconstructionLoss(ReconstructionLossConfig(lpips_net="alex"))
    output = clips(0).requires_grad_()
    terms = loss(output, clips(0), torch.Generator())
    assert terms["l1"] == 0 and terms["lpips"].abs() < 1e-6
    torch.stack(list(terms.values())).sum().backward()
    assert output.grad is not None and output.grad.isfinite().all()


def test_perceptual_frames_are_spread_random_and_repeatable() -> None:
    loss = ReconstructionLoss(ReconstructionLossConfig(perceptual_frames=4, lpips_net="alex"))
    drawn = [loss._frames(16, torch.Generator().manual_seed(seed)).tolist() for seed in range(20)]
    assert all(4 * part <= frame < 4 * part + 4 for frames in drawn for part, frame in enumerate(frames))
    assert len({tuple(frames) for frames in drawn}) > 10
    assert drawn[0] == loss._frames(16, torch.Generator().manual_seed(0)).tolist()
    assert loss._frames(3, torch.Generator()).tolist() == [0, 1, 2]


def test_lpips_sees_clips_and_reconstructions_moved_alike() -> None:
    video, other = clips(0)[:1], clips(1)[:1]
    loss = ReconstructionLoss(ReconstructionLossConfig(perceptual_shift=1, lpips_net="alex"))
    assert loss.lpips is not None
    both = torch.nn.functional.pad(torch.stack([video, other]).flatten(0, 2), (1, 1, 1, 1), mode="reflect")
    moved = [both[:, :, y : y + 32, x : x + 32].chunk(2) for y in range(3) for x in range(3)]
    wanted = torch.stack([loss.lpips(*pair).mean() for pair in moved])
    found = [loss(video, other, torch.Generator().manual_seed(seed))["lpips"] for seed in range(40)]
    places = {int((wanted - each).abs().argmin()) for each in found}
    assert all((wanted - each).abs().min() < 1e-6 for each in found) and len(places) > 5
    assert loss(video, video, torch.Generator())["lpips"].abs() < 1e-6


def test_without_perceptual_there_is_no_network() -> None:
    loss = ReconstructionLoss(ReconstructionLossConfig(perceptual=0.0))
    assert loss.lpips is None and set(loss(clips(0), clips(1), torch.Generator())) == {"l1"}


def test_lpips_joins_at_its_step() -> None:
    loss = ReconstructionLoss(ReconstructionLossConfig(perceptual_start=3, lpips_net="alex"))
    terms = [set(loss(clips(0), clips(1), torch.Generator(), step=step)) for step in (2, 3, None)]
    assert terms == [{"l1"}, {"l1", "lpips"}, {"l1", "lpips"}]


def test_negative_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="perceptual must be at least 0, got -1"):
        ReconstructionLossConfig(perceptual=-1)


def test_a_sketch_is_weighed_by_its_own_error() -> None:
    video, generator = torch.zeros(1, 4, 3, 32, 32), torch.Generator()
    loss = ReconstructionLoss(ReconstructionLossConfig(perceptual=0, sketch=0.5))
    found = loss(video + 0.1, video, generator, video - 0.4)
    assert found["l1"].item() == pytest.approx(0.1) and found["sketch"].item() == pytest.approx(0.2)
    assert "sketch" not in loss(video, video, generator)
