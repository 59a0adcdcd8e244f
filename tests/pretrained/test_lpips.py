"""LPIPS: published distances, and gradients that a training run can live with."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from evatok.pretrained.lpips import LPIPS, Network

# Distances of (a, b), (a, d), (b, d), from an independent implementation that gives the published distances
# of the original repository's example images.
REFERENCE: dict[Network, list[float]] = {
    "alex": [0.021501, 0.060419, 0.080486],
    "vgg": [0.126960, 0.236308, 0.348718],
}
SMALLEST: dict[Network, int] = {"alex": 31, "vgg": 16}


@pytest.fixture(scope="module", params=["alex", "vgg"])
def lpips(request: pytest.FixtureRequest) -> LPIPS:
    return LPIPS.from_pretrained(request.param)


def images() -> tuple[Tensor, Tensor, Tensor]:
    """The reference images a, b, d: formulas, ``(1, 3, 64, 64)`` each."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")

    def waves(phase: float) -> Tensor:
        return torch.stack([torch.sin(2 * math.pi * ((c + 1) * x + (2 * c + 1) * y) / 64 + phase) for c in range(3)])[
            None
        ]

    a = waves(0)
    return a, (a + 0.2 * torch.cos(2 * math.pi * (5 * x - 3 * y) / 64)).clamp(-1, 1), waves(1)


def test_reference_distances(lpips: LPIPS) -> None:
    a, b, d = images()
    found = lpips(torch.cat([a, a, b]), torch.cat([b, d, d]))
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(REFERENCE[lpips.network], rel=1e-4)


def test_features_are_of_unit_length_and_give_the_distance(lpips: LPIPS) -> None:
    a, b, _ = images()
    maps = lpips.features(a)
    assert len(maps) == 5
    for features in maps:
        length = features.norm(dim=1)
        torch.testing.assert_close(length, torch.ones_like(length), rtol=1e-4, atol=0)
    torch.testing.assert_close(lpips.distance(maps, lpips.features(b)), lpips(a, b), rtol=0, atol=0)


def test_the_gradient_is_the_slope(lpips: LPIPS) -> None:
    a, b, _ = images()
    x = b.clone().requires_grad_()
    (slope,) = torch.autograd.grad(lpips(x, a).sum(), x)
    step = 1e-2 * slope / slope.norm()
    with torch.no_grad():
        change = lpips(b + step, a) - lpips(b - step, a)
    assert change.item() == pytest.approx(2 * (step * slope).sum().item(), rel=0.02)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("value", [0.0, 1.0, None])
def test_identical_images_have_no_distance_and_no_gradient(lpips: LPIPS, value: float | None, autocast: bool) -> None:
    x = images()[0] if value is None else torch.full((1, 3, 64, 64), value)
    x = x.clone().requires_grad_()
    y = x.detach().clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        distance = lpips(x, y)
    distance.sum().backward()
    assert distance.tolist() == [0.0]
    for image in (x, y):
        assert image.grad is not None
        assert image.grad.abs().max() == 0


def test_dead_features_are_no_difference_rather_than_nan() -> None:
    lpips = LPIPS("alex")
    for parameter in lpips.stages.parameters():
        if parameter.ndim == 1:
            parameter.fill_(-1e3)
    a, b, _ = images()
    x = a.clone().requires_grad_()
    distance = lpips(x, b)
    distance.sum().backward()
    assert distance.tolist() == [0.0]
    assert x.grad is not None
    assert x.grad.abs().max() == 0


def test_autocast_keeps_all_but_the_convolutions_in_float32(lpips: LPIPS) -> None:
    a, b, d = images()
    with torch.autocast("cpu", torch.bfloat16):
        found = lpips(torch.cat([a, a, b]), torch.cat([b, d, d]))
        assert {m.dtype for m in lpips.features(a)} == {torch.float32}
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(REFERENCE[lpips.network], rel=0.01)


def test_gradients_only_where_they_are_wanted(lpips: LPIPS) -> None:
    a, b, _ = images()
    assert not lpips(a, b).requires_grad
    x = a.clone().requires_grad_()
    lpips(x, b).sum().backward()
    assert x.grad is not None
    assert all(not p.requires_grad and p.grad is None for p in lpips.parameters())


def test_the_smallest_side(lpips: LPIPS) -> None:
    side = SMALLEST[lpips.network]
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 1, 3, side, 40, generator=generator) * 2 - 1
    assert lpips(x, y).isfinite().all()
    with pytest.raises(ValueError, match=f"at least {side} pixels, got {side - 1}x40"):
        lpips(x[:, :, 1:], y[:, :, 1:])


@pytest.mark.parametrize("bad", [torch.zeros(3, 64, 64), torch.zeros(1, 1, 64, 64), torch.zeros(1, 3, 64, 64).byte()])
def test_only_float_images(lpips: LPIPS, bad: Tensor) -> None:
    with pytest.raises(ValueError, match="images must be float"):
        lpips.features(bad)


def test_an_unknown_network_is_an_error() -> None:
    name: Any = "squeeze"
    with pytest.raises(ValueError, match="'squeeze'"):
        LPIPS(name)
