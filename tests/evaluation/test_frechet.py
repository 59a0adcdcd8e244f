"""Distances of sets of features: against other ways to compute them, closed forms, and what must be zero."""

import math

import pytest
import torch
from torch import Generator, Tensor

from evatok.evaluation.frechet import (
    frechet_distance,
    frechet_infinity,
    frechet_interval,
    kernel_distance,
    kernel_spread,
    real_floor,
)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def sets(n: int, m: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features of two correlated Gaussians, float64."""
    generator = seeded(seed)
    mixing = torch.randn(2, width, width, generator=generator).double() / math.sqrt(width)
    x, y = (torch.randn(count, width, generator=generator).double() for count in (n, m))
    return x @ mixing[0], y @ mixing[1] + 0.3


@pytest.mark.parametrize(("n", "m", "width"), [(60, 50, 8), (9, 40, 16), (5, 6, 16), (2, 2, 3), (40, 40, 1)])
def test_frechet_distance_is_that_of_the_eigenvalues_of_the_product(n: int, m: int, width: int) -> None:
    x, y = sets(n, m, width)
    a, b = torch.cov(x.T).reshape(width, width), torch.cov(y.T).reshape(width, width)
    # The trace of the root of a product of covariances: its eigenvalues are real and not negative.
    root = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt().sum()
    expected = (x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace() - 2 * root
    assert frechet_distance(x, y) == pytest.approx(expected.item(), rel=1e-6, abs=1e-6)
    assert frechet_distance(y, x) == pytest.approx(expected.item(), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("count", [30, 6])
def test_frechet_distance_of_what_is_moved_and_scaled(count: int) -> None:
    x, _ = sets(count, 2, 10)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(x, x.flip(0)) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(x, x + 3) == pytest.approx(90, rel=1e-9)
    spread = torch.cov(x.T).trace().item()
    assert frechet_distance(x - x.mean(0), 2.5 * (x - x.mean(0))) == pytest.approx(1.5**2 * spread, rel=1e-9)


def test_float32_features_are_compared_in_float64() -> None:
    x, y = sets(40, 40, 8)
    x, y = x.float() + 1e3, y.float() + 1e3
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(x.double(), y.double()), rel=1e-9)


def test_infinity_is_nearer_to_the_truth_than_the_clips_there_are() -> None:
    deviations = torch.arange(1, 33).double().rsqrt()
    x, y = torch.randn(2, 1500, 32, generator=seeded(), dtype=torch.float64) * deviations
    truth = (0.3**2) * deviations.square().sum().item()
    pieces = list(zip(x.split(150), (1.3 * y).split(150), strict=True))
    finite = sum(frechet_distance(*piece) for piece in pieces) / 10
    infinite = sum(frechet_infinity(*piece, seeded(1)) for piece in pieces) / 10
    assert infinite < finite
    assert abs(infinite - truth) < 0.3 * abs(finite - truth)


def test_infinity_is_that_of_the_seed() -> None:
    x, y = sets(50, 40, 6)
    first, again, other = (frechet_infinity(x, y, seeded(seed)) for seed in (1, 1, 2))
    assert again == pytest.approx(first, rel=1e-9)
    assert other != pytest.approx(first, rel=1e-6)


def test_paired_sets_are_drawn_together() -> None:
    x, _ = sets(40, 2, 6)
    assert frechet_infinity(x, x, seeded(), paired=True) == pytest.approx(0, abs=1e-9)
    assert max(frechet_interval(x, x, seeded(), paired=True)) == pytest.approx(0, abs=1e-9)
    assert kernel_distance(x, x, paired=True) == pytest.approx(0, abs=1e-12)
    assert kernel_spread(x, x, seeded(), paired=True) == pytest.approx(0, abs=1e-12)
    assert kernel_spread(x, x, seeded()) > 1e-3 and frechet_interval(x, x, seeded()).high > 1e-3


def test_the_interval_holds_the_distance_and_narrows() -> None:
    widths = []
    for count in (60, 960):
        x, y = sets(count, count, 6)
        low, high = frechet_interval(x, y, seeded())
        assert 0 <= low < frechet_distance(x, y) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_interval_covers_what_other_clips_give() -> None:
    x, y = sets(2400, 2400, 4)
    pieces = list(zip(x.split(120), y.split(120), strict=True))
    distances = torch.tensor([frechet_distance(*piece) for piece in pieces])
    covered = 0
    for seed, piece in enumerate(pieces):
        low, high = frechet_interval(*piece, seeded(seed))
        covered += int(low <= distances.mean() <= high)
    assert covered >= 16


def test_the_floor_is_the_distance_of_real_halves() -> None:
    x, _ = sets(200, 2, 6)
    floors = [real_floor(x, count, seeded()) for count in (100, 25)]
    assert 0 < floors[0] < floors[1]
    # Of these points there are three pairs of halves, with distances 100, 1 and 2.
    line = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    assert real_floor(line, 2, seeded(), draws=50) == pytest.approx((100 + 1 + 2) / 3, rel=0.35)
    with pytest.raises(ValueError, match="two disjoint sets of 101 needs 202 features, got 200"):
        real_floor(x, 101, seeded())


@pytest.mark.parametrize("paired", [False, True])
def test_kernel_distance_is_the_sum_over_pairs(paired: bool) -> None:
    x, y = sets(7, 7 if paired else 5, 4)

    def mean(a: Tensor, b: Tensor, distinct: bool) -> float:
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (distinct and i == j)]
        return sum((a[i].dot(b[j]).item() / 4 + 1) ** 3 for i, j in pairs) / len(pairs)

    expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, paired)
    assert kernel_distance(x, y, paired=paired) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_is_unbiased_where_the_frechet_distance_is_not() -> None:
    x, y = torch.randn(2, 4000, 8, generator=seeded(), dtype=torch.float64)
    small = torch.tensor([kernel_distance(a, b) for a, b in zip(x.split(20), y.split(20), strict=True)])
    assert abs(small.mean()) < 3 * small.std() / math.sqrt(len(small))
    assert small.min() < 0 < small.max()


def test_bad_features_are_errors() -> None:
    x, y = sets(5, 4, 3)
    for real, fake, said in (
        (x, y[:, :2], r"\(N, D\) and \(M, D\), got \(5, 3\) and \(4, 2\)"),
        (x[0], y, r"got \(3,\) and \(4, 3\)"),
        (x, y[:1], "two clips or more on each side, got 5 and 1"),
        (x, torch.full_like(y, math.nan), "the fake features have values that are not finite"),
    ):
        for distance in (frechet_distance, kernel_distance):
            with pytest.raises(ValueError, match=said):
                distance(real, fake)
    with pytest.raises(ValueError, match="as many clips on each side, got 5 and 4"):
        frechet_infinity(x, y, seeded(), paired=True)
