"""Comparison of curves over the same clips, with paired bootstrap intervals: clips are drawn anew, for both alike."""

from dataclasses import dataclass
from itertools import chain

import numpy as np

from evatok.evaluation.rate import Floats, bd_tokens, saved_at_equal_quality
from evatok.evaluation.strategies import Curve

_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A value over all clips, and between which two it lies in 95 % of the draws; None where it does not exist.

    Args:
        value: over all clips.
        low: 2.5 % of the draws are below it.
        high: 2.5 % of the draws are above it.
        defined: share of the draws in which the value exists.
    """

    value: float | None
    low: float | None
    high: float | None
    defined: float


@dataclass(frozen=True)
class Comparison:
    """A strategy against a reference on the same clips, by LPIPS.

    Args:
        strategy: its name.
        reference: name of the other.
        bd_tokens: mean saving of tokens at equal LPIPS in %, over the common range.
        overlap: that range over the range of both.
        saved: tokens saved at equal LPIPS in % at each setting; None where the reference never reaches it.
    """

    strategy: str
    reference: str
    bd_tokens: Estimate
    overlap: float
    saved: tuple[tuple[float, Estimate], ...]


class Draws:
    """Draws of as many clips as there are, with replacement; the first is all clips themselves.

    Args:
        clips: their number.
        count: of the random draws.
        seed: of what is drawn.
    """

    def __init__(self, clips: int, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        counts = rng.multinomial(clips, np.full(clips, 1 / clips), size=count)
        self.weights: Floats = np.concatenate([np.ones((1, clips)), counts]) / clips

    def means(self, values: Floats) -> Floats:
        """Means over the clips of each draw, `(draws, settings)`, of values `(settings, clips)`."""
        return self.weights @ values.T


def compare_curves(curve: Curve, reference: Curve, draws: Draws) -> Comparison:
    """A curve against a reference, by the means of each draw's clips."""
    points = _points(curve, reference, draws)
    at_points = np.stack([saved_at_equal_quality(*each) for each in points])
    saved = tuple(
        (setting, _estimate(column)) for setting, column in zip(curve.strategy.settings, at_points.T, strict=True)
    )
    bd, overlap = _estimate(_savings(points)), bd_tokens(*points[0]).overlap
    return Comparison(curve.strategy.name, reference.strategy.name, bd, overlap, saved)


def share_of(curve: Curve, best: Curve, reference: Curve, draws: Draws) -> Estimate:
    """BD-tokens of a curve over those of the best possible one, both against the same reference."""
    ours, most = (_savings(_points(each, reference, draws)) for each in (curve, best))
    # Where the best possible one saves nothing there is no share of it.
    return _estimate(np.divide(ours, most, out=np.full_like(ours, np.nan), where=most != 0))


def _points(curve: Curve, reference: Curve, draws: Draws) -> list[tuple[Floats, ...]]:
    """Tokens and quality of a curve, then those of its reference, in each draw."""
    columns = ((draws.means(each.tokens), -draws.means(each.lpips)) for each in (curve, reference))
    return list(zip(*chain(*columns), strict=True))


def _savings(points: list[tuple[Floats, ...]]) -> Floats:
    """BD-tokens in each draw, NaN where there is no common range."""
    found = (bd_tokens(*each).percent for each in points)
    return np.array([np.nan if percent is None else percent for percent in found])


def _estimate(draws: Floats) -> Estimate:
    finite = draws[1:][np.isfinite(draws[1:])]
    low, high = np.percentile(finite, _INTERVAL).tolist() if len(finite) else (None, None)
    value = float(draws[0]) if np.isfinite(draws[0]) else None
    return Estimate(value, low, high, len(finite) / max(len(draws) - 1, 1))
