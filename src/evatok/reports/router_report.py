"""How good routers are on held-out clips: what their picks are worth, what they confuse, and what they take."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evatok.allocation.calibration import Calibration
from evatok.allocation.rules import Price
from evatok.evaluation.routing import RoutingScores, best_uniform, confusion, own_uniform, prediction_scores
from evatok.evaluation.strategies import SWEEP
from evatok.reports.judging import ALL, Judged, JudgingConfig, judged
from evatok.reports.record import provenance
from evatok.stages.search.dataset import SearchedClips
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.files import write_json
from evatok.utils.tables import Table

_TIMED_CLIPS, _TURNS = 8, 5
_BUDGETS = 5
UNIFORM = "best uniform"
# The paper's best-uniform: the search says of each clip which uniform length is its best.
OWN_UNIFORM = "best uniform of each clip"


@dataclass(frozen=True)
class RouterReportConfig(JudgingConfig):
    """What is judged, on which clips, and beside which tokenizer routers are timed.

    Args:
        tokenizer: what the clips were searched with; None: by the name that the search has noted.
    """

    tokenizer: str | None = None


def router_report(config: RouterReportConfig) -> Path:
    """Writes `router-report.json`, prints its tables, and returns its path.

    Raises what `judged` raises; ValueError if the tokenizer is another than the search's.
    """
    folder = Path(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = judged(config)
    truth = found.truth
    scores = {name: {w_q: _scores(found, rows, w_q) for w_q in SWEEP} for name, rows in found.groups.items()}
    listed = {name: _listed(each) for name, each in scores.items()}
    times = _times(config, found) if found.routers else {}
    record = {
        **provenance(),
        **found.about,
        "config": asdict(config),
        "reward": asdict(found.reward),
        "sources": {name: {"clips": len(rows), "scores": listed[name]} for name, rows in found.groups.items()},
        "best_uniform": {
            f"{w_q:g}": best_uniform(truth.clip_lpips, truth.space, found.reward, w_q)[0] for w_q in SWEEP
        },
        "budgets": {
            name: _budgets(found, name)
            for name, router in found.routers.items()
            if router.config.head != "classification"
        },
        "confusion": {name: _confusion(found, name, router.calibration.w_q) for name, router in found.routers.items()},
        "seconds_a_clip": times,
    }
    path = folder / "router-report.json"
    write_json(path, record)
    print("\n\n".join(f"clips: {name}\n{percentiles_table(each)}" for name, each in listed.items()))
    for name, router in found.routers.items():
        print("\n" + _details(name, scores[ALL], router.calibration.w_q, times))
    return path


def _listed(scores: Mapping[float, Mapping[str, RoutingScores]]) -> dict[str, dict[str, Any]]:
    return {f"{w_q:g}": {name: asdict(each) for name, each in by.items()} for w_q, by in scores.items()}


def _scores(found: Judged, rows: Sequence[int], w_q: float) -> dict[str, RoutingScores]:
    """Scores on some clips of the uniform lengths that are best there and of each, and of all who know a preference."""
    truth, space = found.truth.clip_lpips[list(rows)], found.truth.space
    scores = {
        UNIFORM: best_uniform(truth, space, found.reward, w_q)[1],
        OWN_UNIFORM: own_uniform(truth, space, found.reward, w_q),
    }
    for prediction in found.predictions:
        if prediction.knows(w_q):
            some = replace(prediction, table=prediction.table[list(rows)])
            scores[prediction.name] = prediction_scores(truth, space, found.reward, w_q, some)
    return scores


def _budgets(found: Judged, name: str) -> list[dict[str, Any]]:
    """What comes of asking for a mean number of tokens, by a price from other clips.

    The router's own prices come from all of these clips. So half of the videos price the other half, in turns; of a
    single video nothing can be said.
    """
    table, space = next(each for each in found.predictions if each.name == name).table, found.truth.space
    videos = [key.split("@")[0] for key in found.truth.keys]
    numbers = {video: number for number, video in enumerate(dict.fromkeys(videos))}
    odd = torch.tensor([numbers[video] % 2 == 1 for video in videos])
    if not odd.any():
        return []
    prices = [Calibration.fit(table[~half], space, found.reward) for half in (odd, ~odd)]
    fewest, most = space.costs.min().item(), space.costs.max().item()
    rows = []
    for asked in np.geomspace(fewest, most, _BUDGETS + 2)[1:-1].tolist():
        in_odd, in_even = (Price(price.price_for(asked)).pick(table, space) for price in prices)
        picks = torch.where(odd, in_odd, in_even)
        lpips = found.truth.clip_lpips.gather(1, picks[:, None]).double().mean().item()
        # What one half takes too much the other takes too little: both are told, not their mean alone.
        taken = [space.costs[picks[half]].double().mean().item() for half in (odd, ~odd)]
        rows.append({"asked": asked, "tokens_of_halves": taken, "lpips": lpips})
    return rows


def _confusion(found: Judged, name: str, w_q: float) -> dict[str, Any]:
    """Clips by block, level of the best assignment, and level that a router picks, at its own preference."""
    space = found.truth.space
    prediction = next(each for each in found.predictions if each.name == name)
    best = found.predictions[0].pick(space, found.reward, w_q)
    picks = prediction.pick(space, found.reward, w_q)
    return {"w_q": w_q, "levels": space.levels, "by_block": confusion(space, picks, best)}


def _times(config: RouterReportConfig, found: Judged) -> dict[str, float]:
    """Seconds a clip of each router, and of encoding and decoding at the assignments that it picks; medians."""
    model = VideoTokenizer.from_pretrained(config.tokenizer or found.truth.made_by["tokenizer"])
    if model.checksum != found.truth.made_by["checksum"]:
        wanted = found.truth.made_by["checksum"]
        raise ValueError(f"the clips were searched with the tokenizer {wanted}; {model.name} is {model.checksum}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    video = next(SearchedClips(Path(config.held_out)).batches(_TIMED_CLIPS))
    calls: dict[str, Callable[[], Any]] = {
        name: partial(router.to(device).table, video) for name, router in found.routers.items()
    }
    lengths = next(iter(found.routers.values()))(video)
    calls["tokenizer"] = lambda: model.decode(model.encode(video, lengths, fit="none"))
    return {name: seconds / len(video) for name, seconds in _in_turn(calls).items()}


def _in_turn(calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each call; they take turns. Each ends with a result on the CPU, so nothing is left running."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(1 + _TURNS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def percentiles_table(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """Percentiles by preference and by who picks, of the scores that `router-report.json` has of a source."""
    names = dict.fromkeys(name for by in scores.values() for name in by)
    rows = [[name, *(_percentile(by.get(name)) for by in scores.values())] for name in names]
    return Table(["percentile at w_q", *scores], rows)


def _percentile(scores: Mapping[str, Any] | None) -> str:
    return "-" if scores is None else f"{scores['percentile']:.2f}"


def _details(
    name: str, scores: Mapping[float, Mapping[str, RoutingScores]], w_q: float, times: Mapping[str, float]
) -> str:
    nearest = min(scores, key=lambda each: abs(each - w_q))
    found = scores[nearest].get(name)
    share = 100 * times[name] / times["tokenizer"]
    took = f"{1000 * times[name]:.2f} ms a clip, {share:.1f} % of encoding and decoding"
    if found is None:
        return f"{name}: {took}"
    first = f"top-1 {100 * found.top1:.1f} %, top-5 {100 * (found.top5 or 0):.1f} %, regret {found.regret:.4f}"
    return f"{name} at w_q {nearest:g}: {first}, {found.tokens:.1f} tokens, LPIPS {found.lpips:.4f}; {took}"
