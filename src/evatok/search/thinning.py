"""A thinned search measures a part of the tree of prefixes; what it leaves out is completed.

Blocks of a clip under different prefixes are much alike: a few numbers a clip say nearly all of its table. So some
clips are searched wholly, of the others a random part of the tree, and factor analysis, which is fitted to all of them,
gives the expectation of what is missing given what was measured. (Ours: the paper measures everything.)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from evatok.assignment import Assignment, AssignmentSpace

FACTORS, ROUNDS = 16, 40
# Fewer clips that are searched wholly say too little of how blocks go together.
FEWEST_WHOLE = 4 * FACTORS
_SMALLEST = 1e-8  # of a variance


def draw_prefixes(space: AssignmentSpace, follow: int, generator: torch.Generator) -> frozenset[Assignment]:
    """The prefixes from which a thinned search goes on, at most `follow` of each length.

    The shortest is always among them, so that every block is measured under the shortest assignment.
    """
    going: list[Assignment] = [()]
    drawn: set[Assignment] = set()
    for _ in range(space.blocks - 1):
        grown = [(*prefix, level) for prefix in going for level in space.levels]
        order = torch.randperm(len(grown) - 1, generator=generator)[: follow - 1].add(1)
        going = [grown[place] for place in [0, *sorted(order.tolist())]]
        drawn.update(going)
    return frozenset(drawn)


@dataclass(frozen=True)
class FactorModel:
    """Factor analysis: a row is `mean + loadings @ factors + noise`, factors and noise independent and normal.

    Args:
        mean: `(columns,)` float64.
        loadings: `(columns, factors)` float64.
        noise: variances, `(columns,)` float64.
    """

    mean: Tensor
    loadings: Tensor
    noise: Tensor

    @classmethod
    def fit(cls, values: Tensor, factors: int = FACTORS, rounds: int = ROUNDS) -> "FactorModel":
        """Fits rows `(rows, columns)`, NaN where nothing was measured, by EM (Rubin and Thayer 1982).

        It begins with the principal components of the rows that are whole.

        Raises:
            ValueError: fewer rows are whole than there are factors.
        """
        values = values.double()
        model = cls._of_whole(values[~values.isnan().any(1)], factors)
        known = ~values.isnan()
        filled = values.nan_to_num()
        counts = known.sum(0).double()
        squares = filled.square().sum(0)
        for _ in range(rounds):
            # E step. Given what is known of row n, its factors are normal with mean m_n and covariance S_n. With
            # z = (factors, 1), column j needs E[z zᵀ], summed over the rows where it is known: (m_n, 1) (m_n, 1)ᵀ, and
            # S_n among the factors.
            means, spreads = model._factors(values)
            ones = torch.cat([means, torch.ones(len(means), 1, dtype=torch.float64)], 1)
            second = torch.einsum("nj,na,nb->jab", known.double(), ones, ones)
            for rows, mask, spread in spreads:
                second[mask, :factors, :factors] += len(rows) * spread
            # M step. Each column by itself is a regression on z over these rows: loadings and mean are w, which solves
            # E[z zᵀ] w = Σ x E[z]. The noise is the mean of E[(x - wᵀz)²], which for this w is Σ x² - wᵀ Σ x E[z].
            first = filled.T @ ones
            solved = torch.linalg.solve(second, first[:, :, None])[:, :, 0]
            noise = (squares - (solved * first).sum(1)) / counts
            model = cls(solved[:, factors], solved[:, :factors], noise.clamp(min=_SMALLEST))
        return model

    @classmethod
    def _of_whole(cls, values: Tensor, factors: int) -> "FactorModel":
        if len(values) <= factors:
            raise ValueError(f"{factors} factors need more than as many whole rows, got {len(values)}")
        mean = values.mean(0)
        _, sizes, turned = torch.linalg.svd(values - mean, full_matrices=False)
        loadings = turned[:factors].T * sizes[:factors] / len(values) ** 0.5
        noise = (values - mean).square().mean(0) - loadings.square().sum(1)
        return cls(mean, loadings, noise.clamp(min=_SMALLEST))

    def complete(self, values: Tensor) -> Tensor:
        """Rows `(rows, columns)` float64 with their NaN replaced by what is expected there."""
        means, _ = self._factors(values.double())
        return torch.where(values.isnan(), means @ self.loadings.T + self.mean, values.double())

    def _factors(self, values: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        """Expected factors of rows `(rows, factors)`; rows alike in what is known, what that is, and their spread.

        With the loadings L and noise N of the known columns, S = (1 + Lᵀ N⁻¹ L)⁻¹ and m = S Lᵀ N⁻¹ (x - mean).
        """
        means, spreads = torch.empty(len(values), self.loadings.shape[1], dtype=torch.float64), []
        for rows, mask in _alike(values):
            loadings, weights = self.loadings[mask], 1 / self.noise[mask]
            unit = torch.eye(loadings.shape[1], dtype=torch.float64)
            spread = torch.linalg.inv(unit + loadings.T @ (loadings * weights[:, None]))
            means[rows] = ((values[rows][:, mask] - self.mean[mask]) * weights) @ loadings @ spread
            spreads.append((rows, mask, spread))
        return means, spreads


def _alike(values: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows that are known in the same columns, and which these are."""
    masks, groups = (~values.isnan()).unique(dim=0, return_inverse=True)
    for number, mask in enumerate(masks):
        yield (groups == number).nonzero()[:, 0], mask
