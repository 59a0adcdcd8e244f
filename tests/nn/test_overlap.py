"""Patches that overlap, against torch's convolutions."""

import pytest
import torch
from torch.nn.functional import conv3d, conv_transpose3d

from evatok.nn.overlap import Margins, Surroundings

PATCH, OVERLAP, WIDTH = (2, 4, 6), 2, 5
KERNEL = (2, 8, 10)


def around() -> torch.Tensor:
    """Which pixels of the kernel lie around the patch."""
    mask = torch.ones(KERNEL[1:], dtype=torch.bool)
    mask[OVERLAP:-OVERLAP, OVERLAP:-OVERLAP] = False
    return mask


def kernel(weight: torch.Tensor) -> torch.Tensor:
    """A layer's weight `(WIDTH, frames * 3 * pixels)` as that of a convolution, `(WIDTH, 3, *KERNEL)`."""
    whole = torch.zeros(WIDTH, PATCH[0], 3, *KERNEL[1:])
    whole[..., around()] = weight.unflatten(1, (PATCH[0], 3, -1))
    return whole.movedim(2, 1)


@pytest.fixture
def layers() -> tuple[Surroundings, Margins]:
    torch.manual_seed(0)
    made = Surroundings(PATCH, WIDTH, OVERLAP), Margins(PATCH, WIDTH, OVERLAP)
    for layer in made:
        assert not layer.linear.weight.any()
        torch.nn.init.normal_(layer.linear.weight)
    return made


def test_what_is_around_patches_is_seen_as_by_a_convolution(layers: tuple[Surroundings, Margins]) -> None:
    video = torch.randn(2, 6, 3, 12, 24)
    expected = conv3d(
        video.movedim(2, 1), kernel(layers[0].linear.weight), stride=PATCH, padding=(0, OVERLAP, OVERLAP)
    ).flatten(3)
    torch.testing.assert_close(layers[0](video), expected.permute(0, 2, 3, 1), atol=1e-4, rtol=1e-4)


def test_margins_are_added_up_as_by_a_transposed_convolution(layers: tuple[Surroundings, Margins]) -> None:
    features = torch.randn(2, 3, 3 * 4, WIDTH)
    expected = conv_transpose3d(
        features.unflatten(2, (3, 4)).movedim(-1, 1),
        kernel(layers[1].linear.weight.T),
        stride=PATCH,
        padding=(0, OVERLAP, OVERLAP),
    ).movedim(1, 2)
    drawn = layers[1](features, (3, 4))
    assert drawn.shape == (2, 6, 3, 12, 24)
    torch.testing.assert_close(drawn, expected, atol=1e-4, rtol=1e-4)
