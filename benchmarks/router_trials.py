"""Losses, heads and pictures of a router, compared on searched clips that none of them was trained on.

The searched training clips are parted by their videos: a fifth of these judge what the others train, as far as they
were measured wholly. Clips that are held out from all training have no part in the choice.

    python -m benchmarks.router_trials --config configs/tiny/router.yaml --out docs/results/router-trials.json
"""

import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import JUDGED_AT, Row, arguments, in_turn, read_config, report
from evatok.allocation.reward import ProxyReward
from evatok.evaluation.routing import Prediction, best_uniform, prediction_scores
from evatok.losses.routing import RoutingLossConfig
from evatok.nn.transformer import TransformerConfig
from evatok.router.model import Router
from evatok.search.cheap import CheapPredictors
from evatok.search.table import SearchTable
from evatok.stages.router import RouterTask, RouterTrainingConfig
from evatok.stages.search.dataset import SearchedClips
from evatok.training.loop import train

_FOLDS, _TIMED_CLIPS = 5, 8
_ONE = (1.2, 1.2)
_FIT = RoutingLossConfig(error=1, shape=1)
# What a trial has otherwise than the config. With four times the pixels a quarter of them makes as many patches a step.
TRIALS: dict[str, dict[str, Any]] = {
    "780 values: error, shape": {"loss": _FIT},
    "780 values: error": {"loss": RoutingLossConfig(error=1, shape=0)},
    "780 values: error, shape, regret": {"loss": RoutingLossConfig(error=1, shape=1, regret=1)},
    "780 values: soft": {"loss": RoutingLossConfig(error=0, shape=0, soft=1)},
    "780 values: regret": {"loss": RoutingLossConfig(error=0, shape=0, regret=1)},
    "625 values: error, shape": {"loss": _FIT, "model": {"head": "regression"}},
    "classes: hard": {"loss": RoutingLossConfig(0, 0, hard=1, w_q=_ONE), "model": {"head": "classification"}},
    "classes: soft": {"loss": RoutingLossConfig(0, 0, soft=1, w_q=_ONE), "model": {"head": "classification"}},
    "no hints": {"loss": _FIT, "model": {"hints": False}},
    "clips as they are": {"loss": _FIT, "augment": 0.0},
    "three quarters of the patches in a step": {"loss": _FIT, "keep_patches": 0.75},
    "192 wide, 4 deep": {"loss": _FIT, "model": {"transformer": TransformerConfig(192, 4, 4)}},
    "64×64 pixels": {"loss": _FIT, "model": {"side": 64}, "keep_patches": 0.0625},
}


def main() -> None:
    """Parses, trains, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="of a training of a router")
    parser.add_argument("--steps", type=int, default=500, help="of each trial")
    parser.add_argument("--trials", nargs="+", choices=list(TRIALS), default=list(TRIALS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch on the CPU")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = read_config(RouterTrainingConfig, ["--config", str(given.config)])
    loop = replace(config.loop, steps=given.steps, validate_every=given.steps, checkpoint_every=given.steps)
    config = replace(config, loop=replace(loop, tracker="none"), validation=None)
    clips = SearchedClips(Path(config.train))
    judging = [row for row, key in enumerate(clips.table.keys) if judges(key)]
    training = sorted(set(range(len(clips))) - set(judging))
    trained_on, judged_by = clips.only(training), clips.only(judging).whole
    rows = cheap(trained_on.table, judged_by.table)
    for name in given.trials:
        rows.append(trial(name, config, trained_on, judged_by))
        print(rows[-1], flush=True)
    counts = {"trained_on": len(training), "judged_by": len(judged_by)}
    report(rows, given.out, **counts, config=asdict(config), made_by=dict(clips.table.made_by))


def judges(key: str) -> bool:
    """Whether a clip is of those videos that judge, by its key: all clips of a shot, game or photograph, or none."""
    return zlib.crc32(key.split("@")[0].split("/")[0].encode()) % _FOLDS == 0


def cheap(trained_on: SearchTable, judged_by: SearchTable) -> list[Row]:
    """Rows of what any router must beat."""
    trained_on = trained_on.whole
    reward = ProxyReward.fit(trained_on.clip_lpips, trained_on.space.costs)
    truth, space = judged_by.clip_lpips, judged_by.space
    uniform = {w_q: best_uniform(truth, space, reward, w_q)[1].percentile for w_q in JUDGED_AT}
    tables = CheapPredictors.fit(trained_on).tables(judged_by)
    rows = [_row("best uniform", uniform)]
    return rows + [_row(name, _percentiles(Prediction(name, each), judged_by, reward)) for name, each in tables.items()]


def trial(name: str, config: RouterTrainingConfig, trained_on: SearchedClips, judged_by: SearchedClips) -> Row:
    """Trains a router; its row."""
    changes = TRIALS[name]
    config = replace(config, **{**changes, "model": replace(config.model, **changes.get("model", {}))})
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(config.loop.seed)
        task = RouterTask(config, trained_on, judged_by)
        train(task, replace(config, folder=folder))
    scores = task.validate(config.loop.steps).scalars
    router = Router(config.model).eval()
    video = next(judged_by.batches(_TIMED_CLIPS))
    seconds = in_turn({name: lambda: router.table(video)}, 5)[name] / len(video)
    known = {w_q: scores[f"percentile/{w_q:g}"] for w_q in JUDGED_AT if f"percentile/{w_q:g}" in scores}
    return _row(name, known, 1000 * seconds)


def _percentiles(prediction: Prediction, judged_by: SearchTable, reward: ProxyReward) -> dict[float, float]:
    scores = [prediction_scores(judged_by.clip_lpips, judged_by.space, reward, w_q, prediction) for w_q in JUDGED_AT]
    return {each.w_q: each.percentile for each in scores}


def _row(name: str, percentiles: Mapping[float, float], milliseconds: float | None = None) -> Row:
    columns = {f"percentile at {w_q:g}": percentiles.get(w_q, "-") for w_q in JUDGED_AT}
    return {"predictor": name, **columns, "ms a clip": "-" if milliseconds is None else milliseconds}


if __name__ == "__main__":
    main()
