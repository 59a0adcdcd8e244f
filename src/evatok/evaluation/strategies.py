"""Strategies: every rule on every predictor's table, each over its sweep of settings, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evatok.allocation.beam import Beam, Expected, OfTable
from evatok.allocation.budget import allocate
from evatok.allocation.reward import ProxyReward
from evatok.allocation.rules import Random, Threshold, Uniform
from evatok.assignment import AssignmentSpace
from evatok.evaluation.rate import Floats
from evatok.evaluation.routing import Prediction
from evatok.search.table import SearchTable

# The paper's sweep of preferences.
SWEEP = tuple(round(0.4 + 0.2 * step, 1) for step in range(9))
# Settings of thresholds and budgets.
_STEPS = 9


@dataclass(frozen=True)
class Strategy:
    """A rule on a predictor's tables over its settings.

    Args:
        predictor: its name; empty for rules that need none.
        rule: `reward`, `threshold`, `budget`, `uniform` or `random`.
        settings: preference, threshold, mean tokens or level of each operating point.
        picks: index of each clip's assignment at each of them, `(settings, clips)` int64.
    """

    predictor: str
    rule: str
    settings: tuple[float, ...]
    picks: Tensor

    @property
    def name(self) -> str:
        """Such as "search reward"."""
        return f"{self.predictor} {self.rule}".strip()


@dataclass(frozen=True)
class Curve:
    """What a strategy costs and brings, at each setting and for each clip: `(settings, clips)` float64 each.

    Args:
        strategy: whose picks these are.
        tokens: of a clip.
        lpips: of a clip.
        psnr: of a clip, in dB.
    """

    strategy: Strategy
    tokens: Floats
    lpips: Floats
    psnr: Floats

    @classmethod
    def measured(cls, strategy: Strategy, truth: SearchTable) -> "Curve":
        """The measured values of a strategy's picks."""
        tokens, tables = truth.space.costs[strategy.picks], (truth.clip_lpips, truth.clip_psnr)
        lpips, psnr = (table.double().gather(1, strategy.picks.T).T.numpy() for table in tables)
        return cls(strategy, tokens.double().numpy(), lpips, psnr)

    def of_clips(self, chosen: Sequence[int]) -> "Curve":
        """The same for some of the clips."""
        return Curve(self.strategy, *(each[:, list(chosen)] for each in (self.tokens, self.lpips, self.psnr)))


def strategies(predictions: Sequence[Prediction], space: AssignmentSpace, reward: ProxyReward) -> list[Strategy]:
    """All strategies, `uniform` and `random` first; a classification has its one preference alone."""
    clips = len(predictions[0].table)
    none = torch.empty(clips, len(space))
    found = [
        Strategy("", "uniform", space.levels, torch.stack([Uniform(k).pick(none, space) for k in space.levels])),
        Strategy("", "random", (0,), Random().pick(none, space)[None]),
    ]
    for prediction in predictions:
        found.append(by_reward(prediction, space, reward))
        if prediction.w_q is None:
            found += [_by_threshold(prediction, space), _by_budget(prediction, space)]
    return found


def by_reward(prediction: Prediction, space: AssignmentSpace, reward: ProxyReward) -> Strategy:
    """The highest proxy reward at every preference of the sweep that the predictor knows."""
    known = SWEEP if prediction.w_q is None else (prediction.w_q,)
    picks = [prediction.pick(space, reward, w_q) for w_q in known]
    return Strategy(prediction.name, "reward", known, torch.stack(picks))


def by_beam(prediction: Prediction, truth: SearchTable, reward: ProxyReward, width: int) -> Strategy:
    """What a beam finds at every preference of the sweep, led by a prediction of each block's LPIPS."""
    assert prediction.values is not None
    space, tables = truth.space, [Expected(truth.space, values) for values in prediction.values]
    picks = []
    for w_q in SWEEP:
        price = space.blocks * reward.price(w_q)
        found = (
            Beam(space.levels, width, price, table).run(OfTable(space, errors), space.blocks)
            for table, errors in zip(tables, truth.lpips, strict=True)
        )
        picks.append(torch.tensor([space.index(kept[0].lengths) for kept in found]))
    return Strategy(f"{prediction.name} beam {width}", "reward", SWEEP, torch.stack(picks))


def _by_threshold(prediction: Prediction, space: AssignmentSpace) -> Strategy:
    """Thresholds evenly between the means of the worst and of the best that is predicted."""
    worst, best = prediction.table.amax(1).mean().item(), prediction.table.amin(1).mean().item()
    settings = tuple(np.linspace(worst, best, _STEPS + 2)[1:-1].tolist())
    picks = [Threshold(lpips).pick(prediction.table, space) for lpips in settings]
    return Strategy(prediction.name, "threshold", settings, torch.stack(picks))


def _by_budget(prediction: Prediction, space: AssignmentSpace) -> Strategy:
    """Budgets of mean tokens, evenly on a logarithmic scale between the fewest and the most."""
    fewest, most = space.costs.min().item(), space.costs.max().item()
    settings = tuple(np.geomspace(fewest, most, _STEPS + 2)[1:-1].tolist())
    picks = [allocate(prediction.table, space, tokens).picks for tokens in settings]
    return Strategy(prediction.name, "budget", settings, torch.stack(picks))
