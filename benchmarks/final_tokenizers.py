"""What stage 4 gains: tokenizers under lengths by router, beam, one fixed assignment and one uniform length.

    for name in proxy final fixed uniform: evatok search of the same held-out clips by that tokenizer, such as
    evatok search --config configs/tiny/search-validation.yaml --clips 24 --tokenizer runs/tiny-final/final \
        --folder runs/final-search

    python -m benchmarks.final_tokenizers --train runs/tiny-search --router evatok-tiny-router \
        --held-out proxy=runs/tiny-search-validation final=runs/final-search fixed=runs/fixed-search \
        uniform=runs/uniform-search --out docs/results/final-tokenizers.json

Each tokenizer is judged by what itself makes of the clips; fixed assignments, prices and router are those of the proxy,
on whose training clips they were found. The second table compares whole curves, over all preferences: with those of the
tokenizers that learned under the reference's own lengths, which a reader would otherwise have, and of one with itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import Row, arguments, table, write_record
from evatok.allocation.reward import ProxyReward
from evatok.evaluation.comparison import Draws, Estimate, compare_curves
from evatok.evaluation.routing import Prediction
from evatok.evaluation.strategies import SWEEP, Curve, Strategy, by_beam, by_reward
from evatok.router.model import Router
from evatok.search.cheap import CheapPredictors
from evatok.search.table import SearchTable
from evatok.stages.search.dataset import SearchedClips

SHOWN_AT = 1.2
WIDTHS = 1, 2
# A tokenizer and how its clips get their lengths, and what it is compared with.
PAIRS = (
    (("final", "router"), ("uniform", "uniform")),
    (("final", "beam 2"), ("uniform", "uniform")),
    (("final", "router"), ("fixed", "fixed")),
    (("final", "beam 1"), ("fixed", "fixed")),
    (("final", "beam 2"), ("fixed", "fixed")),
    (("final", "router"), ("final", "uniform")),
    (("final", "beam 2"), ("final", "uniform")),
    (("final", "router"), ("final", "fixed")),
    (("final", "beam 1"), ("final", "fixed")),
    (("final", "beam 2"), ("final", "fixed")),
    (("final", "search"), ("final", "fixed")),
    (("final", "router"), ("proxy", "router")),
    (("final", "beam 2"), ("proxy", "beam 2")),
    (("final", "fixed"), ("proxy", "fixed")),
    (("fixed", "fixed"), ("proxy", "fixed")),
    (("uniform", "uniform"), ("proxy", "uniform")),
)
Curves = Mapping[tuple[str, str], Curve]


def curves_of(truth: SearchTable, reward: ProxyReward, router: Prediction, mean: torch.Tensor) -> dict[str, Curve]:
    """What a tokenizer's clips cost and bring, by who gives them their lengths."""
    space = truth.space
    uniform = [space.index(space.uniform(level)) for level in space.levels]
    fixed = Prediction("mean", mean.expand(len(truth), -1))
    found: dict[str, Strategy] = {
        "search": by_reward(Prediction("search", truth.clip_lpips), space, reward),
        "router": by_reward(router, space, reward),
        **{f"beam {width}": by_beam(router, truth, reward, width) for width in WIDTHS},
        "fixed": by_reward(fixed, space, reward),
        "uniform": Strategy("", "uniform", space.levels, torch.tensor(uniform)[:, None].expand(-1, len(truth))),
    }
    return {name: Curve.measured(strategy, truth) for name, strategy in found.items()}


def points(curves: Curves) -> list[Row]:
    """Means over clips at one preference; of uniform lengths at each."""
    rows: list[Row] = []
    for (tokenizer, by), curve in curves.items():
        at = range(len(curve.strategy.settings)) if by == "uniform" else [SWEEP.index(SHOWN_AT)]
        for number in at:
            means = {name: float(getattr(curve, name)[number].mean()) for name in ("tokens", "psnr", "lpips")}
            name = f"uniform {curve.strategy.settings[number]:g}" if by == "uniform" else by
            rows.append({"tokenizer": tokenizer, "lengths by": name, **means})
    return rows


def comparisons(curves: Curves, draws: int) -> list[Row]:
    """Tokens that are saved at equal LPIPS, over all preferences, with intervals."""
    rows: list[Row] = []
    for one, other in PAIRS:
        if one in curves and other in curves:
            curve, reference = curves[one], curves[other]
            found = compare_curves(curve, reference, Draws(curve.tokens.shape[1], draws, 0))
            rows.append({"of": " by ".join(one), "over": " by ".join(other), **_cells(found.bd_tokens)})
    return rows


def _cells(estimate: Estimate) -> dict[str, Any]:
    return {"saved, %": estimate.value, "from": estimate.low, "to": estimate.high}


def main() -> None:
    """Judges the tokenizers of searches, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--train", type=Path, required=True, help="the proxy's search of training clips")
    parser.add_argument("--router", required=True, help="trained on it")
    parser.add_argument("--held-out", nargs="+", required=True, metavar="NAME=FOLDER", help="each tokenizer's search")
    parser.add_argument("--draws", type=int, default=1000, help="draws of clips for the intervals")
    given = parser.parse_args()
    whole = SearchedClips(given.train).whole.table
    reward = ProxyReward.fit(whole.clip_lpips, whole.space.costs)
    searches = {
        name: SearchedClips(Path(folder)) for name, _, folder in (each.partition("=") for each in given.held_out)
    }
    first, *others = searches.values()
    if any(other.table.keys != first.table.keys for other in others):
        raise ValueError("the searches are of different clips")
    router = Router.from_pretrained(given.router)
    tables = [(router.table(video), router.values(video)) for video in first.batches(64)]
    values = torch.cat([value for _, value in tables if value is not None])
    predicted = Prediction("router", torch.cat([each for each, _ in tables]), values=values)
    mean = CheapPredictors.fit(whole).tables(first.table)["mean"][:1]
    curves = {
        (name, by): curve
        for name, clips in searches.items()
        for by, curve in curves_of(clips.table, reward, predicted, mean).items()
    }
    shown, compared = points(curves), comparisons(curves, given.draws)
    print("\n\n".join(table(rows) for rows in (shown, compared) if rows))
    about = {name: dict(clips.table.made_by) for name, clips in searches.items()}
    record = {"clips": len(first.table), "w_q": SHOWN_AT, "points": shown, "comparisons": compared, "made_by": about}
    write_record(record, given.out)


if __name__ == "__main__":
    main()
