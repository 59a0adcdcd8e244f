"""What judging routers begins with: held-out searched clips, and what each predictor says of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from evatok.allocation.reward import ProxyReward
from evatok.evaluation.routing import Prediction
from evatok.router.model import Router
from evatok.search.cheap import CheapPredictors
from evatok.search.table import SearchTable
from evatok.stages.search.dataset import SearchedClips
from evatok.stages.search.folder import PREDICTORS, check_held_out, read_table
from evatok.utils.configs import check_least

ALL = "all"
_TOGETHER = 64


@dataclass(frozen=True)
class JudgingConfig:
    """What is judged, and on which clips.

    Args:
        train: folder of the search of the training clips: the reward and the cheap predictors are fitted to it.
        held_out: folder of a search of held-out clips, which share no video with them: that is checked.
        folder: where the results are written.
        routers: names, folders or a hub's repositories of routers, under the names that results call them by.
        draws: draws of clips for the intervals.
        seed: of these.
    """

    train: str
    held_out: str
    folder: str
    routers: dict[str, str] = field(default_factory=dict)
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, 1, "draws")
        check_least(self, 0, "seed")
        taken = sorted({"search", "mean", "error", "motion", ""} & set(self.routers))
        if taken:
            raise ValueError(f"routers cannot be called {', '.join(map(repr, taken))}: other predictors are")


@dataclass(frozen=True)
class Judged:
    """Held-out clips and all that is said of them.

    Args:
        truth: what the search measured.
        reward: the proxy reward, fitted on the training clips.
        predictions: of the search itself, of `mean`, `error` and `motion`, and of the routers.
        routers: the routers by name.
    """

    truth: SearchTable
    reward: ProxyReward
    predictions: tuple[Prediction, ...]
    routers: dict[str, Router]

    @property
    def about(self) -> dict[str, Any]:
        """What the numbers depend on, for the record."""
        return {"clips": len(self.truth), "held_out": dict(self.truth.made_by)}

    @property
    def groups(self) -> dict[str, list[int]]:
        """Rows of all clips, and of each source's where there are several."""
        rows: dict[str, list[int]] = {ALL: list(range(len(self.truth)))}
        if len(set(self.truth.sources)) > 1:
            for row, source in enumerate(self.truth.sources):
                rows.setdefault(source, []).append(row)
        return rows


def judged(config: JudgingConfig) -> Judged:
    """The held-out clips with everything that predictors say of them.

    Raises:
        ValueError: a search is not finished, or they do not belong together.
        CheckpointError: there is no such router.
    """
    check_held_out(Path(config.train), Path(config.held_out))
    training, truth = (read_table(Path(folder)).whole for folder in (config.train, config.held_out))
    reward = ProxyReward.fit(training.clip_lpips, training.space.costs)
    cheap = CheapPredictors.read(Path(config.train) / PREDICTORS).tables(truth)
    routers = {name: Router.from_pretrained(where) for name, where in config.routers.items()}
    for name, router in routers.items():
        if router.config.space != truth.space:
            raise ValueError(f"{name} is a router for {router.config.space}; the clips were searched in {truth.space}")
    predictions = [Prediction("search", truth.clip_lpips)]
    predictions += [Prediction(name, cheap[name]) for name in ("mean", "error", "motion")]
    clips = SearchedClips(Path(config.held_out)).whole if routers else None
    for name, router in routers.items():
        assert clips is not None
        table = torch.cat([router.table(video) for video in clips.batches(_TOGETHER)])
        only = router.calibration.w_q if router.config.head == "classification" else None
        values = [values for video in clips.batches(_TOGETHER) if (values := router.values(video)) is not None]
        predictions.append(Prediction(name, table, only, torch.cat(values) if values else None))
    return Judged(truth, reward, tuple(predictions), routers)
