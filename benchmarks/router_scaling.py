"""How much a router saves by how many clips it has learned from, on held-out clips.

    python -m benchmarks.router_scaling --config configs/mini/router.yaml --clips 500 1000 2000 4000 \
        --out docs/results/router-scaling.json

All of them have the same number of steps. Those clips that were measured wholly are always among them: they also give
the fixed assignments of `mean`, which is what savings are over.
"""

import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import Row, arguments, read_config, report
from evatok.allocation.reward import ProxyReward
from evatok.evaluation.comparison import Draws, compare_curves, share_of
from evatok.evaluation.routing import Prediction, prediction_scores
from evatok.evaluation.strategies import Curve, by_reward
from evatok.router.model import Router
from evatok.search.cheap import CheapPredictors
from evatok.search.table import SearchTable
from evatok.stages.router import RouterTask, RouterTrainingConfig
from evatok.stages.search.dataset import SearchedClips
from evatok.training.loop import train

JUDGED_AT = 1.2
_TOGETHER = 64


class Judge:
    """Held-out clips, and what predictors of their tables save over the fixed assignments of training clips."""

    def __init__(self, training: SearchTable, held_out: SearchedClips, draws: int) -> None:
        self.held_out, self.truth = held_out, held_out.table
        self.reward = ProxyReward.fit(training.whole.clip_lpips, training.space.costs)
        self.cheap = CheapPredictors.fit(training.whole).tables(self.truth)
        self.draws = draws

    def row(self, name: str, table: torch.Tensor) -> Row:
        """What picks by tables `(clips, assignments)` save."""
        prediction = Prediction(name, table)
        rows: dict[str, list[int]] = {}
        for place, source in enumerate(self.truth.sources):
            rows.setdefault(source, []).append(place)
        best, mean, own = (
            Curve.measured(by_reward(each, self.truth.space, self.reward), self.truth)
            for each in (
                Prediction("search", self.truth.clip_lpips),
                Prediction("mean", self.cheap["mean"]),
                prediction,
            )
        )
        draws = Draws(len(self.truth), self.draws, 0)
        saved, share = compare_curves(own, mean, draws).bd_tokens, share_of(own, best, mean, draws)
        scores = prediction_scores(self.truth.clip_lpips, self.truth.space, self.reward, JUDGED_AT, prediction)
        by_source = {
            source: compare_curves(own.of_clips(of), mean.of_clips(of), Draws(len(of), 1, 0)).bd_tokens.value
            for source, of in rows.items()
        }
        return {
            "picks by": name,
            "saved, %": saved.value,
            "from": saved.low,
            "to": saved.high,
            "of the search's, %": None if share.value is None else 100 * share.value,
            f"percentile at {JUDGED_AT}": scores.percentile,
            **by_source,
        }

    def router_row(self, name: str, router: Router) -> Row:
        """What a router's picks save."""
        return self.row(name, torch.cat([router.table(video) for video in self.held_out.batches(_TOGETHER)]))


def trained(config: RouterTrainingConfig, clips: SearchedClips) -> Router:
    """A router that has learned from these clips, on which its prices are calibrated too."""
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(config.loop.seed)
        loop = replace(config.loop, checkpoint_every=config.loop.steps, tracker="none")
        return Router.from_pretrained(train(RouterTask(config, clips, None), replace(config, folder=folder, loop=loop)))


def main() -> None:
    """Trains one after the other, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--config", required=True, nargs="+", help="of the training of a router, with held-out clips")
    parser.add_argument("--clips", type=int, nargs="+", required=True, help="how many of the searched clips")
    parser.add_argument("--draws", type=int, default=1000, help="draws of clips for the intervals")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch on the CPU")
    given, words = parser.parse_known_args()
    torch.set_num_threads(given.threads)
    config = read_config(RouterTrainingConfig, [*(f"--config={path}" for path in given.config), *words])
    clips, held_out = SearchedClips(Path(config.train)), SearchedClips(Path(str(config.validation)))
    judge = Judge(clips.table, held_out, given.draws)
    rows = [judge.row("search", judge.truth.clip_lpips), judge.row("motion", judge.cheap["motion"])]
    for count in given.clips:
        some = clips.only(range(min(count, len(clips))))
        rows.append(judge.router_row(f"router, {len(some)} clips", trained(config, some)))
        print(rows[-1], flush=True)
    about: dict[str, Any] = {"made_by": dict(clips.table.made_by), "held_out": len(held_out), "config": asdict(config)}
    report(rows, given.out, **about)


if __name__ == "__main__":
    main()
