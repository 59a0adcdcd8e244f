"""Distances of two sets of features ``(N, D)``: Fréchet and kernel distance, and how far to trust them.

All is computed in float64 on the CPU. What is drawn at random comes from the generator given. Sets that are
*paired* hold the same clips in the same order, as originals and reconstructions do: then the same rows of both
are drawn, since drawing each side by itself would add noise that the sets do not have.
"""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

# Of both sets, what the subsets hold that the fit to infinitely many clips goes through, and how many of each.
_FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_DRAWS = 4
# How many rows of a kernel matrix exist at once.
_ROWS_AT_ONCE = 1024


class Interval(NamedTuple):
    """The ends of an interval."""

    low: float
    high: float


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Return the Fréchet distance (squared) of Gaussians with the two sets' means and unbiased covariances.

    With centred features ``X`` and ``Y`` divided by the roots of ``N - 1``, the covariances are ``XᵀX`` and ``YᵀY``,
    and the trace of the root of their product is the sum of the singular values of ``XYᵀ``. So no root of a matrix
    is taken, and singular covariances (fewer features than dimensions) are as exact as others.
    """
    real, fake = _checked(real, fake)
    x, y = _root_of_covariance(real), _root_of_covariance(fake)
    means = (real.mean(0) - fake.mean(0)).square().sum()
    traces = x.square().sum() + y.square().sum() - 2 * torch.linalg.svdvals(x @ y.T).sum()
    return max((means + traces).item(), 0.0)


def frechet_infinity(real: Tensor, fake: Tensor, generator: Generator, *, paired: bool = False) -> float:
    """Return what :func:`frechet_distance` would be of infinitely many clips, by the line through those of subsets.

    The distance of finite sets is too large by about what is proportional to ``1 / N`` (Chong and Forsyth 2020,
    CVPR). Both sets are subsampled, by the same fraction. An extrapolation may fall below zero; from sets that are
    not larger than features have dimensions it is still much too large.
    """
    real, fake = _checked(real, fake, paired)
    inverses, distances = [], []
    for fraction in _FRACTIONS:
        for _ in range(1 if fraction == 1 else _DRAWS):
            counts = [max(2, round(fraction * len(side))) for side in (real, fake)]
            inverses.append(1 / fraction)
            distances.append(frechet_distance(*_subsets(real, fake, counts, generator, paired)))
    line = torch.stack([torch.ones(len(inverses)), torch.tensor(inverses)], 1).double()
    return torch.linalg.lstsq(line, torch.tensor(distances).double()[:, None]).solution[0].item()


def frechet_interval(
    real: Tensor,
    fake: Tensor,
    generator: Generator,
    *,
    paired: bool = False,
    level: float = 0.95,
    resamples: int = 50,
) -> Interval:
    """Return the bootstrap interval of :func:`frechet_distance` at these numbers of clips.

    Resamples hold some clips twice, which raises their distances as fewer clips would; so their scatter about
    their own mean is what the interval takes from them, and puts about the distance itself.
    """
    real, fake = _checked(real, fake, paired)
    distances = []
    for _ in range(resamples):
        rows = torch.randint(len(real), (len(real),), generator=generator)
        others = rows if paired else torch.randint(len(fake), (len(fake),), generator=generator)
        distances.append(frechet_distance(real[rows], fake[others]))
    scatter = torch.tensor(distances).double()
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2]).double()
    low, high = (scatter - scatter.mean()).quantile(ends) + frechet_distance(real, fake)
    return Interval(max(low.item(), 0.0), high.item())


def real_floor(real: Tensor, count: int, generator: Generator, draws: int = 4) -> float:
    """Return the mean :func:`frechet_distance` of two disjoint random sets of `count` of the real features each.

    What two sets of real clips of that size are apart: generated clips cannot be told from real ones below it.
    """
    real, _ = _checked(real, real)
    if not 2 <= count <= len(real) // 2:
        raise ValueError(f"a floor of two disjoint sets of {count} needs {2 * max(count, 2)} features, got {len(real)}")
    shuffles = [torch.randperm(len(real), generator=generator) for _ in range(draws)]
    return math.fsum(frechet_distance(real[s[:count]], real[s[count : 2 * count]]) for s in shuffles) / draws


def kernel_distance(real: Tensor, fake: Tensor, *, paired: bool = False) -> float:
    """Return the unbiased squared MMD with the kernel ``(x·y / D + 1)³``, as KID's; it may fall below zero.

    Unlike the Fréchet distance it is not larger for fewer clips. Of paired sets the pairs themselves are left out.
    """
    real, fake = _checked(real, fake, paired)
    between = _mean_kernel(real, fake, distinct=paired)
    return _mean_kernel(real, real, distinct=True) + _mean_kernel(fake, fake, distinct=True) - 2 * between


def kernel_spread(real: Tensor, fake: Tensor, generator: Generator, *, paired: bool = False, draws: int = 50) -> float:
    """Return the standard deviation of :func:`kernel_distance` over random subsets, as KID is reported.

    A subset is half of each set, and at most 1000 clips.
    """
    real, fake = _checked(real, fake, paired)
    counts = [max(2, min(1000, len(side) // 2)) for side in (real, fake)]
    subsets = (_subsets(real, fake, counts, generator, paired) for _ in range(draws))
    return torch.tensor([kernel_distance(x, y, paired=paired) for x, y in subsets]).double().std().item()


def _checked(real: Tensor, fake: Tensor, paired: bool = False) -> tuple[Tensor, Tensor]:
    """Both in float64 on the CPU."""
    shapes = f"{tuple(real.shape)} and {tuple(fake.shape)}"
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(f"real and fake features must be (N, D) and (M, D), got {shapes}")
    if min(len(real), len(fake)) < 2:
        raise ValueError(f"a distance needs two clips or more on each side, got {len(real)} and {len(fake)}")
    if paired and len(real) != len(fake):
        raise ValueError(f"paired sets must have as many clips on each side, got {len(real)} and {len(fake)}")
    for name, side in (("real", real), ("fake", fake)):
        if not side.isfinite().all():
            raise ValueError(f"the {name} features have values that are not finite")
    return real.to("cpu", torch.float64), fake.to("cpu", torch.float64)


def _root_of_covariance(features: Tensor) -> Tensor:
    """A matrix ``X``, of at most as many rows as columns, such that ``XᵀX`` is the unbiased covariance."""
    centred = (features - features.mean(0)) / math.sqrt(len(features) - 1)
    return torch.linalg.qr(centred, mode="r").R if len(centred) > centred.shape[1] else centred


def _subsets(
    real: Tensor, fake: Tensor, counts: list[int], generator: Generator, paired: bool
) -> tuple[Tensor, Tensor]:
    rows = torch.randperm(len(real), generator=generator)[: counts[0]]
    others = rows if paired else torch.randperm(len(fake), generator=generator)[: counts[1]]
    return real[rows], fake[others]


def _mean_kernel(x: Tensor, y: Tensor, *, distinct: bool) -> float:
    """The mean of the kernel over all pairs of rows, or over those of different numbers."""
    width = x.shape[1]
    total = math.fsum(((rows @ y.T) / width + 1).pow(3).sum().item() for rows in x.split(_ROWS_AT_ONCE))
    if not distinct:
        return total / (len(x) * len(y))
    same = ((x * y).sum(1) / width + 1).pow(3).sum().item()
    return (total - same) / (len(x) * (len(x) - 1))
