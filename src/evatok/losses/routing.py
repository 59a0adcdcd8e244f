"""Losses of routers: how far predictions are from searched tables, and what the assignments that follow would cost."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from evatok.allocation.predictors import table_of
from evatok.allocation.reward import ProxyReward
from evatok.assignment import AssignmentSpace
from evatok.router.config import RouterConfig
from evatok.utils.configs import check_least


@dataclass(frozen=True)
class RoutingLossConfig:
    """Weights of the terms; those of 0 are left out.

    `hard`, `soft` and `regret` are taken at a preference drawn for each clip. A classification's scores are its logits;
    a regression's are the rewards that it predicts, over `temperature`.

    Args:
        error: squared error of what is predicted, in deviations of the training clips; of regressions alone.
        shape: squared error of what is predicted less its mean over values that are alike but for the last block's
            length, in their deviations: what another token brings is what decides; likewise.
        hard: cross-entropy to the best assignment (the paper's, for a classification).
        soft: cross-entropy to softmax(reward / temperature): what is nearly as good is nearly as right.
        regret: expected reward that is lost by drawing an assignment from the softmax of the scores.
        temperature: of the softmaxes, in units of the reward.
        w_q: preferences are drawn between these two; a classification has one, so both are the same.
    """

    error: float = 1.0
    shape: float = 1.0
    hard: float = 0.0
    soft: float = 0.0
    regret: float = 0.0
    temperature: float = 0.1
    w_q: tuple[float, float] = (0.4, 2.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "w_q", tuple(self.w_q))
        terms = ("error", "shape", "hard", "soft", "regret")
        check_least(self, 0, *terms)
        if not any(getattr(self, name) for name in terms):
            raise ValueError(f"one of {', '.join(terms)} must have a weight")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0 < self.w_q[0] <= self.w_q[1] <= 2:
            raise ValueError(f"w_q must be two preferences, 0 < from <= to <= 2, got {self.w_q}")

    @property
    def of_whole_tables(self) -> bool:
        """Whether a term needs to know which of all assignments is best."""
        return bool(self.hard or self.soft or self.regret)

    def check(self, router: RouterConfig) -> None:
        """ValueError where a term has no meaning for a router."""
        if router.head == "classification":
            if self.error or self.shape:
                raise ValueError("error and shape must be 0 for a classification, which predicts no LPIPS")
            if self.w_q[0] != self.w_q[1]:
                raise ValueError(f"a classification learns one preference: w_q must be one twice, got {self.w_q}")


class RoutingLoss:
    """The weighted terms of a `RoutingLossConfig`.

    Args:
        config: their weights.
        router: what is predicted.
        reward: the proxy reward of the training clips.
        values: LPIPS of the training clips' blocks under each prefix, `(clips, prefixes)`, for the terms' units.
    """

    def __init__(self, config: RoutingLossConfig, router: RouterConfig, reward: ProxyReward, values: Tensor) -> None:
        config.check(router)
        self.config, self.router, self.reward = config, router, reward
        targets = targets_of(router, values)
        self.spread = targets.std(0, correction=0).clamp(min=1e-6)
        self.shape_spread = _among_siblings(targets, router.space).std(0, correction=0).mean().clamp(min=1e-6)

    def __call__(self, output: Tensor, values: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The terms by name.

        Args:
            output: what the router's network gave, `(B, outputs)`.
            values: LPIPS of each block under each prefix, `(B, prefixes)`, on the same device. NaN were not measured:
                `error` and `shape` leave them out, the others take none.
            generator: of the preferences, on the CPU.
        """
        config, terms = self.config, dict[str, Tensor]()
        if self.router.head != "classification":
            error = output - targets_of(self.router, values)
            terms["error"] = _mean_square(error / self.spread.to(output.device))
            terms["shape"] = _mean_square(_among_siblings(error, self.router.space) / self.shape_spread)
        if config.of_whole_tables:
            terms |= self._by_reward(output, table_of(values, self.router.space), generator)
        return {name: getattr(config, name) * term for name, term in terms.items() if getattr(config, name)}

    def _by_reward(self, output: Tensor, true: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The terms that look at which assignments are best, by measured tables `(B, assignments)`."""
        low, high = self.config.w_q
        w_q = (low + (high - low) * torch.rand(len(true), 1, generator=generator)).to(output.device)
        reward, scores = self._reward(true, w_q), output
        if self.router.head != "classification":
            predicted = table_of(output, self.router.space) if self.router.head == "prefix_regression" else output
            scores = self._reward(predicted, w_q) / self.config.temperature
        return {
            "hard": F.cross_entropy(scores, reward.argmax(1)),
            "soft": F.cross_entropy(scores, (reward / self.config.temperature).softmax(1)),
            "regret": (scores.softmax(1) * (reward.amax(1, keepdim=True) - reward)).sum(1).mean(),
        }

    def _reward(self, table: Tensor, w_q: Tensor) -> Tensor:
        quality, length = self.reward.standardised(table, self.router.space.costs.to(table.device))
        return w_q * quality - (2 - w_q) * length


def targets_of(router: RouterConfig, values: Tensor) -> Tensor:
    """What a regression is to predict, `(clips, outputs)`, of values `(clips, prefixes)`."""
    return values if router.head == "prefix_regression" else table_of(values, router.space)


def _among_siblings(values: Tensor, space: AssignmentSpace) -> Tensor:
    """Values `(B, prefixes or assignments)` less the mean of those that are alike but for the last length.

    NaN are left out, and are NaN again, as are those that are alone.
    """
    # Both are numbered so that the last block's length changes fastest.
    siblings = values.unflatten(1, (-1, len(space.levels)))
    known = siblings.isfinite()
    filled, count = torch.where(known, siblings, 0), known.sum(2, keepdim=True)
    centred = filled - filled.sum(2, keepdim=True) / count.clamp(min=1)
    return centred.masked_fill(~known | (count < 2), torch.nan).flatten(1)


def _mean_square(errors: Tensor) -> Tensor:
    """Mean square of the errors that are known; no gradient comes from the others."""
    known = errors.isfinite()
    return torch.where(known, errors, 0).square().sum() / known.sum().clamp(min=1)
