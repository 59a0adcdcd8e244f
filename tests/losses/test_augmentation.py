"""What is changed before discriminators see it: alike in frames and pairs, seeded, with gradients."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from evatok.losses.augmentation import AugmentationConfig, augmented, shifted

STILL = AugmentationConfig(0, 0, 0, 0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=seeded(9)) * 2 - 1


def test_frames_and_pairs_are_changed_alike_and_clips_apart() -> None:
    picture = clips(3, 16, 24)
    found = augmented(picture.expand(2, 4, 5, 3, 16, 24), seeded(), AugmentationConfig())
    assert found.shape == (2, 4, 5, 3, 16, 24)
    assert torch.equal(found, found[:1, :, :1].expand_as(found))
    apart = (found[0, :, None, 0] - found[0, None, :, 0]).abs().amax((2, 3, 4))
    assert (apart + torch.eye(4) > 0.05).all()


def test_one_video_is_changed_as_it_is_within_a_pair() -> None:
    pair = clips(2, 3, 2, 3, 16, 16)
    together = augmented(pair, seeded(1), AugmentationConfig())
    alone = [augmented(video, seeded(1), AugmentationConfig()) for video in pair]
    assert torch.equal(together, torch.stack(alone))
    assert not torch.equal(alone[0], augmented(pair[0], seeded(2), AugmentationConfig()))


@pytest.mark.parametrize(("name", "most"), [("brightness", 0.5), ("saturation", 1.0), ("contrast", 0.5)])
def test_colours(name: str, most: float) -> None:
    video = clips(64, 1, 3, 8, 8)
    found = augmented(video, seeded(), replace(STILL, **dict[str, Any]({name: most})))
    grey = video.mean(2, keepdim=True)
    if name == "brightness":
        amount = found - video
    elif name == "saturation":
        torch.testing.assert_close(found.mean(2, keepdim=True), grey)
        amount = ((found - grey) * (video - grey)).sum((1, 2, 3, 4)) / (video - grey).square().sum((1, 2, 3, 4)) - 1
    else:
        amount = (found * video).sum((1, 2, 3, 4)) / video.square().sum((1, 2, 3, 4)) - 1
    assert amount.abs().max() <= most + 1e-5
    assert amount.min() < -0.8 * most and amount.max() > 0.8 * most


def test_shifts_move_pixels_and_reflect_borders() -> None:
    video = torch.arange(8.0).expand(40, 1, 3, 8, 8)
    found = shifted(video, seeded(), 2)
    rows = {tuple(row) for row in found[:, 0, 0, 3].tolist()}
    assert rows == {
        (2, 1, 0, 1, 2, 3, 4, 5),
        (1, 0, 1, 2, 3, 4, 5, 6),
        (0, 1, 2, 3, 4, 5, 6, 7),
        (1, 2, 3, 4, 5, 6, 7, 6),
        (2, 3, 4, 5, 6, 7, 6, 5),
    }
    columns = {tuple(column) for column in shifted(video.mT, seeded(), 2)[:, 0, 0, :, 3].tolist()}
    assert columns == rows


def test_nothing_asked_is_nothing_changed() -> None:
    video = clips(2, 4, 3, 8, 8)
    torch.testing.assert_close(augmented(video, seeded(), STILL), video)
    assert torch.equal(shifted(video, seeded(), 0), video)


def test_gradients_pass() -> None:
    video = clips(2, 2, 3, 8, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(
        augmented(video, seeded(), AugmentationConfig(translation=2)).square().sum(), video
    )
    assert gradient.isfinite().all() and (gradient != 0).float().mean() > 0.5


def test_a_shift_as_long_as_a_side_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than the sides, 8x16, got 8"):
        shifted(torch.zeros(1, 1, 3, 8, 16), seeded(), 8)


@pytest.mark.parametrize("name", ["brightness", "saturation", "contrast", "translation"])
def test_wrong_configs_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1"):
        AugmentationConfig(**{name: -1})
