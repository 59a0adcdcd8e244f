"""I3D: values of an independent implementation, and what it makes of other sizes and of bad input."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from evatok.pretrained.i3d import I3D
from evatok.training.precision import native_precision


@pytest.fixture(scope="module")
def i3d() -> I3D:
    return I3D.from_pretrained()


def waves(frames: int = 16, side: int = 224) -> Tensor:
    """The reference video, a formula: ``(1, frames, 3, side, side)``."""
    t, y, x = torch.meshgrid(
        torch.arange(float(frames)), torch.arange(float(side)), torch.arange(float(side)), indexing="ij"
    )
    planes = [torch.sin(2 * math.pi * ((c + 1) * x / 56 + (2 * c + 1) * y / 112 + t * (c + 1) / 16)) for c in range(3)]
    return torch.stack(planes, 1)[None]


def test_reference_features_and_logits(i3d: I3D) -> None:
    # Of an implementation that calls the sample clip of the network's authors "playing cricket" with 98.9 %.
    video = waves()
    features, logits = i3d.features(video), i3d.logits(video)
    assert (features.shape, logits.shape) == ((1, 1024), (1, 400))
    assert features.dtype == logits.dtype == torch.float32
    found = [features.mean().item(), features.std().item(), features.norm().item(), logits.norm().item()]
    assert found == pytest.approx([0.282932, 0.347006, 14.323207, 104.870575], rel=1e-3)
    largest = logits[0].topk(5)
    assert largest.indices.tolist() == [159, 394, 150, 327, 155]
    assert largest.values.tolist() == pytest.approx([15.9026, 12.6210, 12.5323, 12.2739, 11.4456], rel=1e-3)


def test_other_sizes_are_resized_bilinearly_and_a_batch_is_its_clips(i3d: I3D) -> None:
    video = torch.cat([waves(9, 64), waves(9, 64).flip(1)])
    resized = F.interpolate(video[1], (224, 224), mode="bilinear", align_corners=False)
    found = i3d.logits(video)
    torch.testing.assert_close(found[1:], i3d.logits(resized[None]), rtol=1e-3, atol=1e-3)
    # Played backwards it is another video.
    assert (found[1] - found[0]).norm() > 0.05 * found[0].norm()


@pytest.mark.skipif(native_precision() != "bf16", reason="bf16 is emulated here, which takes minutes")
def test_under_autocast_only_the_convolutions_are_less_exact(i3d: I3D) -> None:
    video = waves(9, 64)
    exact = i3d.logits(video)
    with torch.autocast("cpu", torch.bfloat16):
        rough = i3d.logits(video)
    assert rough.dtype == torch.float32
    assert not rough.requires_grad
    assert (rough - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (torch.zeros(16, 3, 64, 64), r"float \(B, F, 3, H, W\)"),
        (torch.zeros(1, 3, 16, 64, 64), r"float \(B, F, 3, H, W\)"),
        (torch.zeros(1, 16, 3, 64, 64).byte(), "torch.uint8"),
        (torch.zeros(1, 8, 3, 64, 64), "at least 9 frames, got 8"),
    ],
)
def test_only_float_videos_of_nine_frames(bad: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        I3D().logits(bad)
