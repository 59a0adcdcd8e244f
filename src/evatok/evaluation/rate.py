"""Curves of quality over tokens against each other: tokens saved at equal quality, and Bjøntegaard's mean saving.

Curves are compared through PCHIP interpolation of the logarithm of tokens over quality, as video codecs are (the
practice of JCT-VC; Herglotz et al. 2022, arXiv 2202.12565), and only where both have points: nothing is extrapolated.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Saving:
    """Bjøntegaard's mean saving of a curve against another.

    Args:
        percent: tokens saved at equal quality, the mean (of the logarithm) over the common range; negative where more
            are spent. None where there is no common range.
        overlap: the common range of quality over the range of both.
    """

    percent: float | None
    overlap: float


def front(tokens: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """The points of a curve that no point with as few tokens, or fewer, equals in quality; by rising tokens."""
    order = np.lexsort((-quality, tokens))
    kept: list[int] = []
    for point in order.tolist():
        if not kept or quality[point] > quality[kept[-1]]:
            kept.append(point)
    return tokens[kept], quality[kept]


def bd_tokens(tokens: Floats, quality: Floats, reference_tokens: Floats, reference_quality: Floats) -> Saving:
    """BD-tokens of a curve against a reference: BD-rate with tokens as rate, its sign turned so that it is a saving.

    Args:
        tokens: mean tokens of a clip at each operating point, positive, in any order.
        quality: of these points, the more the better, such as minus LPIPS. Points that another one beats are left out.
        reference_tokens: of the reference.
        reference_quality: of the reference.
    """
    curves = [front(tokens, quality), front(reference_tokens, reference_quality)]
    low, high = max(q[0] for _, q in curves), min(q[-1] for _, q in curves)
    total = max(q[-1] for _, q in curves) - min(q[0] for _, q in curves)
    if min(len(q) for _, q in curves) < 2 or high <= low:
        return Saving(None, 0.0)
    ours, theirs = (float(PchipInterpolator(q, np.log(t)).integrate(low, high)) for t, q in curves)
    return Saving(100 * (1 - float(np.exp((ours - theirs) / (high - low)))), float((high - low) / total))


def saved_at_equal_quality(
    tokens: Floats, quality: Floats, reference_tokens: Floats, reference_quality: Floats
) -> Floats:
    """Tokens saved in % at each point, against what the reference takes for that quality; NaN outside its range."""
    t, q = front(reference_tokens, reference_quality)
    if len(q) < 2:
        return np.full(len(tokens), np.nan)
    needed = np.exp(PchipInterpolator(q, np.log(t), extrapolate=False)(quality))
    return 100 * (1 - tokens / needed)
