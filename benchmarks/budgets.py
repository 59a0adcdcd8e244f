"""A budget for a set of clips, by one price, against an integer program in each mini-batch (AdapTok's way).

Both spend the same mean number of tokens at most, on the measured tables of searched clips: the rule `budget` over the
whole set with its certificate, its stored price alone (each clip for itself), and the exact optimum of every mini-batch
of 16 clips, which couples a clip's tokens to its neighbours.

    python -m benchmarks.budgets --search runs/tiny-search-validation --out docs/results/budgets.json
"""

from pathlib import Path

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from benchmarks.common import Row, arguments, report
from evatok.allocation.budget import allocate
from evatok.allocation.rules import Price
from evatok.assignment import AssignmentSpace
from evatok.stages.search.folder import read_table


def measure(table: Tensor, space: AssignmentSpace, budgets: list[float], batch: int, seed: int) -> list[Row]:
    """A row a budget, of mean LPIPS; clips are in a random order."""
    shuffled = table[torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))].double()
    rows: list[Row] = []
    for tokens in budgets:
        bought = allocate(shuffled, space, tokens)
        alone = Price(bought.price).pick(shuffled, space)
        batches = [by_program(clips, space, tokens) for clips in shuffled.split(batch)]
        coupled = torch.cat(batches)
        rows.append(
            {
                "tokens": tokens,
                "LPIPS, whole set": bought.lpips,
                "at most above the optimum": bought.gap,
                "LPIPS, price alone": mean_of(shuffled, alone),
                "tokens, price alone": space.costs[alone].double().mean().item(),
                f"LPIPS, program by {batch}": mean_of(shuffled, coupled),
                f"tokens, program by {batch}": space.costs[coupled].double().mean().item(),
            }
        )
    return rows


def mean_of(table: Tensor, picks: Tensor) -> float:
    """Mean LPIPS of picks."""
    return table.gather(1, picks[:, None]).mean().item()


def by_program(table: Tensor, space: AssignmentSpace, tokens: float) -> Tensor:
    """The picks with the least mean LPIPS within a budget, exactly."""
    totals = space.costs.unique()
    # Of assignments with equal tokens only the best can be picked.
    best = torch.stack([_best_of(table, space, int(total)) for total in totals], 1)
    lpips = table.gather(1, best)
    clips, choices = lpips.shape
    solved = milp(
        lpips.flatten().numpy(),
        constraints=[
            LinearConstraint(np.kron(np.eye(clips), np.ones(choices)), 1, 1),
            LinearConstraint(np.tile(totals.numpy(), clips)[None] / clips, -np.inf, tokens),
        ],
        integrality=np.ones(lpips.numel()),
        bounds=Bounds(0, 1),
    )
    if not solved.success:
        raise RuntimeError(f"the integer program has no solution: {solved.message}")
    chosen = torch.from_numpy(solved.x).view(clips, choices).argmax(1)
    return best.gather(1, chosen[:, None])[:, 0]


def _best_of(table: Tensor, space: AssignmentSpace, total: int) -> Tensor:
    """Of the assignments with so many tokens, each clip's best."""
    indices = (space.costs == total).nonzero()[:, 0]
    return indices[table[:, indices].argmin(1)]


def main() -> None:
    """Reads a search, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--search", type=Path, required=True, help="folder of a finished search")
    parser.add_argument("--tokens", type=float, nargs="+", default=[48, 64, 96, 128, 192, 256])
    parser.add_argument("--batch", type=int, default=16, help="clips of a mini-batch")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the clips")
    given = parser.parse_args()
    table = read_table(given.search)
    rows = measure(table.clip_lpips, table.space, given.tokens, given.batch, given.seed)
    report(rows, given.out, clips=len(table), batch=given.batch, seed=given.seed, made_by=dict(table.made_by))


if __name__ == "__main__":
    main()
