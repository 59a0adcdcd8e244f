"""What stage 4 gains: tokenizers under lengths by router, beam, one fixed assignment and one uniform length.

    evatok search --config configs/tiny/search-validation.yaml --clips 24 --tokenizer runs/tiny-final/final \
        --folder runs/final-search
    python -m benchmarks.final_tokenizers --train runs/tiny-search --router evatok-tiny-router \
        --held-out proxy=runs/tiny-search-validation final=runs/final-search \
        --twins fixed=runs/tiny-final-fixed/final uniform=runs/tiny-final-uniform/final \
        --out docs/results/final-tokenizers.json

Each tokenizer is judged by what itself makes of the clips: by its search of them or, a twin, under its own lengths.
Fixed assignments, prices and router are those of the proxy, on whose training clips they were found. The second table
compares whole curves, over all preferences: with those of tokenizers that learned under the reference's own lengths,
which a reader would otherwise have, and of one with itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import Row, arguments, table, write_record
from evatok.allocation.reward import ProxyReward
from evatok.assignment import AssignmentSpace
from evatok.evaluation.comparison import Draws, Estimate, compare_curves
from evatok.evaluation.metrics import clip_scores
from evatok.evaluation.reconstruction import reconstruct
from evatok.evaluation.routing import Prediction
from evatok.evaluation.strategies import SWEEP, Curve, Strategy, by_beam, by_reward
from evatok.nn.packed import Layout
from evatok.pretrained.lpips import LPIPS
from evatok.router.model import Router
from evatok.search.cheap import CheapPredictors
from evatok.search.table import SearchTable
from evatok.stages.search.dataset import SearchedClips
from evatok.tokenizer.model import VideoTokenizer

SHOWN_AT = 1.2
WIDTHS = 1, 2
_TOGETHER = 8
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
    found = {
        "search": by_reward(Prediction("search", truth.clip_lpips), space, reward),
        "router": by_reward(router, space, reward),
        **{f"beam {width}": by_beam(router, truth, reward, width) for width in WIDTHS},
        **strategies(space, len(truth), reward, mean),
    }
    return {name: Curve.measured(strategy, truth) for name, strategy in found.items()}


def strategies(space: AssignmentSpace, clips: int, reward: ProxyReward, mean: torch.Tensor) -> dict[str, Strategy]:
    """Those that know nothing of a clip."""
    uniform = torch.tensor([space.index(space.uniform(level)) for level in space.levels])
    return {
        "fixed": by_reward(Prediction("mean", mean.expand(clips, -1)), space, reward),
        "uniform": Strategy("", "uniform", space.levels, uniform[:, None].expand(-1, clips)),
    }


def measured(tokenizer: VideoTokenizer, clips: SearchedClips, strategy: Strategy, lpips: LPIPS) -> Curve:
    """The curve of a strategy that gives all clips the same lengths, by reconstructing them."""
    space, rows = clips.table.space, list[torch.Tensor]()
    for pick in strategy.picks[:, 0].tolist():
        scores = []
        for video in clips.batches(_TOGETHER):
            found = reconstruct(tokenizer, video, Layout.of([space.assignment(pick)] * len(video))).video
            scores.append(torch.stack(clip_scores(video, found, lpips)))
        rows.append(torch.cat(scores, 1))
    psnr, _, quality = torch.stack(rows, 1).double().numpy()
    return Curve(strategy, space.costs[strategy.picks].double().numpy(), quality, psnr)


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
    parser.add_argument("--twins", nargs="*", default=[], metavar="NAME=FOLDER", help="fixed and uniform: tokenizers")
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
    lpips = LPIPS.from_pretrained(first.table.made_by["lpips_net"])
    plain = strategies(first.table.space, len(first.table), reward, mean)
    about = {name: dict(clips.table.made_by) for name, clips in searches.items()}
    for name, _, folder in (each.partition("=") for each in given.twins):
        twin = VideoTokenizer.from_pretrained(folder)
        curves[name, name] = measured(twin, first, plain[name], lpips)
        about[name] = {"tokenizer": twin.name, "checksum": twin.checksum}
    shown, compared = points(curves), comparisons(curves, given.draws)
    print("\n\n".join(table(rows) for rows in (shown, compared) if rows))
    record = {"clips": len(first.table), "w_q": SHOWN_AT, "points": shown, "comparisons": compared, "made_by": about}
    write_record(record, given.out)


if __name__ == "__main__":
    main()
