"""The table of a thinned search: what was not measured is completed, and how well that goes is checked and noted."""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from evatok.allocation.reward import ProxyReward
from evatok.allocation.rules import Reward
from evatok.evaluation.routing import RoutingScores, routing_scores
from evatok.evaluation.strategies import SWEEP
from evatok.search.table import SearchTable
from evatok.search.thinning import FactorModel
from evatok.stages.search.folder import COMPLETED, read_parts
from evatok.utils.files import write_json

CHECK = "completion.json"


def complete(folder: Path) -> None:
    """Completes the table of a thinned search whose parts are all there; one without gaps needs nothing.

    Beside `completed.parquet` is `completion.json`: errors of tables completed likewise, on clips that were measured
    wholly. A search that was made longer is completed anew.
    """
    table, path = SearchTable.joined(read_parts(folder)), folder / COMPLETED
    if table.lpips.isnan().any() and not (path.exists() and SearchTable.read(path).places == table.places):
        write_json(folder / CHECK, check(table))
        completed(table).write(path)


def completed(table: SearchTable) -> SearchTable:
    """A table with its NaN replaced by what is expected there; errors are never negative, MSE goes by its logarithm."""
    lpips = FactorModel.fit(table.lpips).complete(table.lpips).clamp(min=0)
    logarithms = table.mse.double().clamp(min=1e-6).log()
    mse = FactorModel.fit(logarithms).complete(logarithms).exp()
    return replace(table, lpips=lpips.float(), mse=torch.where(table.mse.isnan(), mse.float(), table.mse))


def check(table: SearchTable) -> dict[str, object]:
    """Errors of completed tables on half of the clips that were measured wholly, as if they had been thinned too."""
    gaps = table.lpips.isnan().any(1)
    whole, thinned = (~gaps).nonzero()[:, 0], gaps.nonzero()[:, 0]
    hidden = whole[1::2]
    masks = table.lpips[thinned].isnan()
    masked = table.lpips.clone()
    masked[hidden] = masked[hidden].masked_fill(masks[torch.arange(len(hidden)) * len(masks) // len(hidden)], torch.nan)
    found = FactorModel.fit(masked).complete(masked)[hidden].clamp(min=0)
    truth = replace(table.rows(hidden.tolist()), lpips=table.lpips[hidden])
    guess = replace(truth, lpips=found.float())
    reward = ProxyReward.fit(truth.clip_lpips, table.space.costs)
    return {
        "clips": len(table),
        "measured_wholly": len(whole),
        "share_measured_of_others": (~masks).double().mean().item(),
        "checked_on": len(hidden),
        "rmse": _error(guess.clip_lpips, truth.clip_lpips),
        "deviation": truth.clip_lpips.std().item(),
        "scores": [asdict(_scores(truth, guess.clip_lpips, reward, w_q)) for w_q in SWEEP],
    }


def _error(a: Tensor, b: Tensor) -> float:
    return (a - b).double().square().mean().sqrt().item()


def _scores(truth: SearchTable, guess: Tensor, reward: ProxyReward, w_q: float) -> RoutingScores:
    picks = Reward(reward, w_q).pick(guess, truth.space)
    return routing_scores(truth.clip_lpips, truth.space, reward, w_q, picks)
