"""Seams are measured where patches show, and nowhere else."""

import pytest
import torch
from skimage import data
from torch import Tensor

from evatok.evaluation.seams import patch_energy

PATCH = (4, 8, 8)


def noise(seed: int = 0) -> Tensor:
    return torch.rand(2, 4, 3, 64, 96, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def photographs() -> Tensor:
    pictures = [torch.from_numpy(picture)[:256, :384].permute(2, 0, 1) for picture in (data.astronaut(), data.coffee())]
    return torch.stack(pictures)[:, None]


def blocky(video: Tensor) -> Tensor:
    """Each patch in its mean colour."""
    cut = video.float().unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8))
    return cut.mean((-3, -1), keepdim=True).expand_as(cut).flatten(-4, -3).flatten(-2)


def test_noise_and_photographs_have_no_seams() -> None:
    assert patch_energy(noise(), PATCH).tolist() == pytest.approx([1, 1], abs=0.05)
    assert patch_energy(photographs(), PATCH).tolist() == pytest.approx([1, 1], abs=0.1)


@pytest.mark.parametrize("video", [noise(), photographs()], ids=["noise", "photographs"])
def test_blocks_are_seams_by_as_much_as_they_show(video: Tensor) -> None:
    video = video.float()
    energies = [patch_energy(torch.lerp(video, blocky(video), share), PATCH).min() for share in (0.0, 0.5, 0.9, 1.0)]
    assert energies == sorted(energies) and energies[2] > 1.5 and energies[3] > 100
    # Blocks of another size lie elsewhere.
    assert patch_energy(blocky(video), (4, 16, 16)).max() < 20


def test_speckles_at_corners_of_patches_are_seams() -> None:
    video = noise() * 0.1
    video[..., ::8, ::8] += 0.5
    assert patch_energy(video, PATCH).min() > 1.5


def test_contrast_and_brightness_do_not_matter() -> None:
    video = torch.lerp(noise(), blocky(noise()), 0.5)
    found = patch_energy(video, PATCH)
    torch.testing.assert_close(patch_energy(0.2 * video + 0.4, PATCH), found, rtol=1e-3, atol=0)
    torch.testing.assert_close(patch_energy(torch.zeros(1, 1, 3, 16, 16), PATCH), torch.ones(1))


@pytest.mark.parametrize(("size", "patch"), [((8, 8), PATCH), ((16, 16), (4, 1, 8))])
def test_pictures_without_seams_are_refused(size: tuple[int, int], patch: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="two patches of two pixels at least, got"):
        patch_energy(torch.zeros(1, 4, 3, *size), patch)
