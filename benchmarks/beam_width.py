"""What a beam measures of a clip and what it saves, on searched held-out clips: the line from few blocks to all.

A searched table has what a beam would have measured, so its picks follow without searching again. The cost to go is a
router's, the mean of the clips that it has learned from, or none. Time is that of `VideoTokenizer.encode` on this
machine, in processor milliseconds a clip, on the first of the held-out clips.

    python -m benchmarks.beam_width --train runs/tiny-search --held-out runs/tiny-search-validation \
        --router evatok-tiny-router --tokenizer evatok-tiny-proxy --out docs/results/beam-width.json
"""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import Row, arguments, report
from evatok.allocation.beam import Beam, Expected, OfTable
from evatok.allocation.calibration import BEAM_WIDTHS
from evatok.allocation.reward import ProxyReward
from evatok.evaluation.comparison import Draws, compare_curves
from evatok.evaluation.routing import Prediction
from evatok.evaluation.strategies import SWEEP, Curve, Strategy, by_reward
from evatok.reports.judging import JudgingConfig, judged
from evatok.router.model import Router
from evatok.search.table import SearchTable
from evatok.stages.search.dataset import SearchedClips
from evatok.tokenizer.model import VideoTokenizer

# Widths, and how many longer prefixes of each block are measured (None: as the beam does of itself).
LINE: tuple[tuple[int, int | None], ...] = (
    *((1, tried) for tried in (1, 2, 4)),
    *((2, tried) for tried in (3, 4, 8)),
    *((3, tried) for tried in (6, 9)),
    *((4, tried) for tried in (8, 12)),
    *((width, None) for width in BEAM_WIDTHS),
    (16, None),
)


def picks(
    truth: SearchTable, reward: ProxyReward, values: Tensor | None, width: int, tried: int | None
) -> tuple[Tensor, float]:
    """Indices of a beam's assignments at each preference of the sweep, `(settings, clips)`, and blocks it measured."""
    space, rows, blocks = truth.space, [], 0
    tables = [None] * len(truth) if values is None else [Expected(space, each) for each in values]
    for w_q in SWEEP:
        found = []
        for errors, table in zip(truth.lpips, tables, strict=True):
            measurer = OfTable(space, errors)
            beam = Beam(space.levels, width, space.blocks * reward.price(w_q), table, tried)
            found.append(space.index(beam.run(measurer, space.blocks)[0].lengths))
            blocks += measurer.blocks
        rows.append(torch.tensor(found))
    return torch.stack(rows), blocks / len(truth) / len(SWEEP)


def measure(
    truth: SearchTable,
    reward: ProxyReward,
    reference: Prediction,
    led_by: dict[str, Tensor | None],
    line: Sequence[tuple[int, int | None]],
    draws: int,
) -> list[Row]:
    """A row for each beam and cost to go, and one for the search: tokens saved over `reference`."""
    fixed, drawn = Curve.measured(by_reward(reference, truth.space, reward), truth), Draws(len(truth), draws, 0)
    rows: list[Row] = []

    def add(what: Row, chosen: Tensor, blocks: float) -> None:
        curve = Curve.measured(Strategy("", "beam", SWEEP, chosen), truth)
        saved = compare_curves(curve, fixed, drawn).bd_tokens
        rows.append({**what, "blocks a clip": blocks, "saved %": saved.value, "from": saved.low, "to": saved.high})

    for name, values in led_by.items():
        for width, tried in line:
            if values is not None or tried is None:
                every = width * len(truth.space.levels)
                each = every if values is None else 2 * width + 1 if tried is None else tried
                what: Row = {"cost to go": name, "kept": width, "measured a block": min(each, every)}
                add(what, *picks(truth, reward, values, width, tried))
    whole = by_reward(Prediction("search", truth.clip_lpips), truth.space, reward).picks
    add({"cost to go": "all measured", "kept": "", "measured a block": ""}, whole, truth.space.prefix_starts[-1])
    return rows


def milliseconds(tokenizer: VideoTokenizer, clips: Tensor, widths: Sequence[int]) -> dict[str, float]:
    """Processor time of encoding a clip, by the beam's width, and of decoding it; on one thread."""
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    for width in (0, 0, *widths):  # the first of them warms up
        start = time.process_time()
        tokens = tokenizer.encode(clips, beam=width)
        found[f"encode, beam {width}"] = 1000 * (time.process_time() - start) / len(clips)
    start = time.process_time()
    tokenizer.decode(tokens)
    return found | {"decode": 1000 * (time.process_time() - start) / len(clips)}


def main() -> None:
    """Reads searches, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--train", required=True, help="folder of the search of the training clips")
    parser.add_argument("--held-out", required=True, help="folder of the search of the held-out clips")
    parser.add_argument("--router", required=True, help="which leads the beam")
    parser.add_argument("--tokenizer", required=True, help="which is timed, with that router")
    parser.add_argument("--clips", type=int, default=16, help="that are timed")
    parser.add_argument("--draws", type=int, default=1000, help="of clips, for the intervals")
    given = parser.parse_args()
    found = judged(JudgingConfig(given.train, given.held_out, "", {"router": given.router}))
    by_name = {each.name: each for each in found.predictions}
    router, mean = by_name["router"].values, found.routers["router"].mean_values
    if router is None or mean is None:
        raise ValueError(f"{given.router} does not predict blocks one by one: its head is no prefix_regression")
    led_by = {"router": router, "mean": mean.expand(len(found.truth), -1), "none": None}
    rows = measure(found.truth, found.reward, by_name["mean"], led_by, LINE, given.draws)
    clips = next(SearchedClips(Path(given.held_out)).batches(given.clips))
    tokenizer = VideoTokenizer.from_pretrained(given.tokenizer).set_router(Router.from_pretrained(given.router))
    times = milliseconds(tokenizer, clips, BEAM_WIDTHS)
    report(rows, given.out, clips=len(found.truth), made_by=dict(found.truth.made_by), milliseconds_a_clip=times)


if __name__ == "__main__":
    main()
