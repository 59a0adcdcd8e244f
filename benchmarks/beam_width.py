"""What a beam of a given width loses against the exact search, on searched clips.

A beam keeps the cheapest prefixes of each clip after every block (`evatok.search.beam`). A searched table has what it
would have measured, so its picks follow without searching again.

    python -m benchmarks.beam_width --search runs/tiny-search-validation --out docs/results/beam-width.json
"""

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import JUDGED_AT, Row, arguments, report
from evatok.allocation.reward import ProxyReward
from evatok.search.table import SearchTable
from evatok.stages.search.folder import read_table


def measure(table: SearchTable, widths: list[int], preferences: list[float]) -> list[Row]:
    """A row a width and preference; the reward is fitted on the clips themselves."""
    reward = ProxyReward.fit(table.clip_lpips, table.space.costs)
    rows: list[Row] = []
    for w_q in preferences:
        price = reward.price(w_q)
        rewards = reward(table.clip_lpips, table.space.costs, w_q)
        best, worst = rewards.amax(1), rewards.amin(1)
        for width in widths:
            picks = beam_picks(table, price, width)
            found = rewards.gather(1, picks[:, None])[:, 0]
            rows.append(
                {
                    "w_q": w_q,
                    "width": width,
                    "blocks measured a clip": blocks_measured(len(table.space.levels), table.space.blocks, width),
                    "percentile": (100 * (found - worst).mean() / (best - worst).mean()).item(),
                    "clips at the optimum": f"{(found >= best - 1e-9).double().mean().item():.1%}",
                    "mean LPIPS lost": (
                        table.clip_lpips.double().gather(1, picks[:, None])[:, 0]
                        - table.clip_lpips.double().gather(1, rewards.argmax(1)[:, None])[:, 0]
                    )
                    .mean()
                    .item(),
                }
            )
    return rows


def beam_picks(table: SearchTable, price: float, width: int) -> Tensor:
    """Index of the assignment that a beam ends with, `(clips,)`."""
    space = table.space
    levels, kept = torch.tensor(space.levels).double(), torch.zeros(len(table), 1, dtype=torch.float64)
    for block in range(space.blocks):
        first, last = space.prefix_starts[block], space.prefix_starts[block + 1]
        step = table.lpips[:, first:last].double() / space.blocks
        cost = (kept[:, :, None] + step.unflatten(1, (-1, len(levels))) + price * levels).flatten(1)
        dearest = cost.topk(min(width, cost.shape[1]), 1, largest=False).values[:, -1:]
        kept = cost.where(cost <= dearest, torch.inf)
    return kept.argmin(1)


def blocks_measured(levels: int, blocks: int, width: int) -> int:
    """Blocks that a beam measures of a clip."""
    total, beam = 0, 1
    for _ in range(blocks):
        total += beam * levels
        beam = min(width, beam * levels)
    return total


def main() -> None:
    """Reads a search, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--search", type=Path, required=True, help="folder of a finished search")
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 2, 5, 10, 25, 125])
    given = parser.parse_args()
    table = read_table(given.search)
    rows = measure(table, sorted(given.widths), list(JUDGED_AT))
    report(rows, given.out, clips=len(table), made_by=dict(table.made_by))


if __name__ == "__main__":
    main()
