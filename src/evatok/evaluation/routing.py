"""How good the picks of a predictor are, by the tables that a search has measured (paper, section 3)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evatok.allocation.reward import ProxyReward
from evatok.allocation.rules import Price
from evatok.assignment import AssignmentSpace


@dataclass(frozen=True)
class Prediction:
    """What a predictor says of searched clips.

    Args:
        name: of the predictor.
        table: LPIPS of every clip under every assignment, `(clips, len(space))`.
        w_q: None; or the one preference of a classification, whose table is minus the logarithms of probabilities.
        values: LPIPS of every block under every prefix, `(clips, prefixes)`, where it says so much.
    """

    name: str
    table: Tensor
    w_q: float | None = None
    values: Tensor | None = None

    def knows(self, w_q: float) -> bool:
        """Whether it can pick at a preference."""
        return self.w_q is None or self.w_q == w_q

    def pick(self, space: AssignmentSpace, reward: ProxyReward, w_q: float) -> Tensor:
        """Indices of the assignments picked at a preference that it knows, `(clips,)`."""
        return Price(reward.price(w_q) if self.w_q is None else 0.0).pick(self.table, space)

    def ranking(self, space: AssignmentSpace, reward: ProxyReward, w_q: float) -> Tensor:
        """How good it holds every assignment, `(clips, len(space))`: the larger the better."""
        return reward(self.table, space.costs, w_q) if self.w_q is None else -self.table


@dataclass(frozen=True)
class RoutingScores:
    """What picks are worth at one preference.

    Args:
        w_q: the preference.
        percentile: proxy-reward percentile in %: 0 for the worst picks of each clip, 100 for the best.
        regret: mean reward that the best pick of each clip has more.
        top1: share of clips whose best assignment is picked.
        top5: share of clips whose best assignment is among the five that are held best; None for fixed picks.
        tokens: mean tokens of a clip.
        lpips: mean LPIPS.
    """

    w_q: float
    percentile: float
    regret: float
    top1: float
    top5: float | None
    tokens: float
    lpips: float


def routing_scores(
    truth: Tensor, space: AssignmentSpace, reward: ProxyReward, w_q: float, picks: Tensor, ranking: Tensor | None = None
) -> RoutingScores:
    """Scores of picks `(clips,)` by the measured table `(clips, len(space))`; `ranking` as `Prediction` gives it.

    The percentile is (E R(picked) − E R(worst)) / (E R(best) − E R(worst)), the extremes taken for each clip (paper).
    """
    rewards = reward(truth, space.costs, w_q)
    best, worst = rewards.amax(1), rewards.amin(1)
    picked = rewards.gather(1, picks[:, None])[:, 0]
    spread = (best - worst).mean()
    return RoutingScores(
        w_q=w_q,
        percentile=100 * ((picked - worst).mean() / spread).item() if spread > 0 else 100.0,
        regret=(best - picked).mean().item(),
        top1=(picked == best).double().mean().item(),
        top5=None if ranking is None else _in_first(rewards, ranking, 5),
        tokens=space.costs[picks].double().mean().item(),
        lpips=truth.gather(1, picks[:, None]).double().mean().item(),
    )


def prediction_scores(
    truth: Tensor, space: AssignmentSpace, reward: ProxyReward, w_q: float, prediction: Prediction
) -> RoutingScores:
    """Scores of what a predictor picks at a preference."""
    picks = prediction.pick(space, reward, w_q)
    return routing_scores(truth, space, reward, w_q, picks, prediction.ranking(space, reward, w_q))


def best_uniform(truth: Tensor, space: AssignmentSpace, reward: ProxyReward, w_q: float) -> tuple[int, RoutingScores]:
    """The level whose uniform assignment has the highest mean reward on these clips, and its scores."""
    scores = {
        level: routing_scores(truth, space, reward, w_q, torch.full((len(truth),), space.index(space.uniform(level))))
        for level in space.levels
    }
    level = max(scores, key=lambda level: scores[level].percentile)
    return level, scores[level]


def own_uniform(truth: Tensor, space: AssignmentSpace, reward: ProxyReward, w_q: float) -> RoutingScores:
    """Scores of the uniform assignment of each clip's highest reward: the paper's *best-uniform*, an oracle."""
    uniform = torch.tensor([space.index(space.uniform(level)) for level in space.levels])
    best = reward(truth[:, uniform], space.costs[uniform], w_q).argmax(1)
    return routing_scores(truth, space, reward, w_q, uniform[best])


def confusion(space: AssignmentSpace, picks: Tensor, best: Tensor) -> list[list[list[int]]]:
    """Clips by block, by level of the best assignment, and by level picked: `[block][best][picked]`."""
    levels = {level: number for number, level in enumerate(space.levels)}
    counts = torch.zeros(space.blocks, len(levels), len(levels), dtype=torch.int64)
    for right, chosen in zip(space.lengths[best].tolist(), space.lengths[picks].tolist(), strict=True):
        for block, (a, b) in enumerate(zip(right, chosen, strict=True)):
            counts[block, levels[a], levels[b]] += 1
    return counts.tolist()


def _in_first(rewards: Tensor, ranking: Tensor, count: int) -> float:
    """Share of clips one of whose best assignments is among the `count` that are ranked first."""
    first = ranking.topk(min(count, ranking.shape[1]), 1).indices
    return (rewards.gather(1, first).amax(1) == rewards.amax(1)).double().mean().item()
