"""How much of the search's gain could be predicted: picks by the first components of a clip's own measured table.

Every clip's table is reduced to the few principal components of the training clips' tables, which are known exactly
here; a router would have to predict them from the frames. What more components add is particular to the clip.

    python -m benchmarks.routing_ceiling --train runs/tiny-search --held-out runs/tiny-search-validation \\
        --out docs/results/routing-ceiling.json
"""

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import JUDGED_AT, Row, arguments, report
from evatok.allocation.predictors import table_of
from evatok.allocation.reward import ProxyReward
from evatok.evaluation.comparison import Draws, share_of
from evatok.evaluation.routing import Prediction, prediction_scores
from evatok.evaluation.strategies import Curve, by_reward
from evatok.search.table import SearchTable
from evatok.stages.search.folder import read_table


def measure(train: SearchTable, truth: SearchTable, counts: list[int]) -> list[Row]:
    """A row a number of components; 0 is the training clips' mean."""
    reward = ProxyReward.fit(train.clip_lpips, train.space.costs)
    values, mean = truth.lpips.double(), train.lpips.double().mean(0)
    directions = torch.linalg.svd(train.lpips.double() - mean, full_matrices=False).Vh
    draws = Draws(len(truth), 1, 0)
    best, fixed = (_curve(table, truth, reward) for table in (values, mean.expand(len(truth), -1)))
    rows: list[Row] = []
    for count in counts:
        known = mean + (values - mean) @ directions[:count].T @ directions[:count]
        prediction = Prediction(str(count), table_of(known, truth.space))
        scores = [
            prediction_scores(truth.clip_lpips, truth.space, reward, w_q, prediction).percentile for w_q in JUDGED_AT
        ]
        share = share_of(_curve(known, truth, reward), best, fixed, draws).value
        rows.append(
            {
                "components known": count,
                **{f"percentile at {w_q:g}": score for w_q, score in zip(JUDGED_AT, scores, strict=True)},
                "share of the search's saving over `mean`": "-" if share is None else share,
            }
        )
    return rows


def _curve(values: Tensor, truth: SearchTable, reward: ProxyReward) -> Curve:
    prediction = Prediction("known", table_of(values, truth.space))
    return Curve.measured(by_reward(prediction, truth.space, reward), truth)


def main() -> None:
    """Reads two searches, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--train", type=Path, required=True, help="folder of the search of training clips")
    parser.add_argument("--held-out", type=Path, required=True, help="folder of the search of held-out clips")
    parser.add_argument("--components", type=int, nargs="+", default=[0, 1, 2, 4, 8, 16, 32, 64])
    given = parser.parse_args()
    train, truth = read_table(given.train), read_table(given.held_out)
    rows = measure(train, truth, given.components)
    report(rows, given.out, trained_on=len(train), clips=len(truth), made_by=dict(truth.made_by))


if __name__ == "__main__":
    main()
