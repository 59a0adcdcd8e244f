"""Linear maps between pixels and a few components of them, which begin as principal components.

Weights are kept with entries of about 1, whatever the size of a patch: an optimiser that moves every entry by as much
is then slow beside them, and does not undo a good start in its first steps.
"""

import torch
from torch import Tensor, nn

SMALLEST = 1e-4  # share of the total variance that a component counts as at least, where it is brought to unit size


class Components(nn.Module):
    """Components of vectors: one row of the weight each.

    Args:
        size: of the vectors.
        count: number of components, at most `size`.
    """

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        if not 1 <= count <= size:
            raise ValueError(f"count must be between 1 and the vectors' {size}, got {count}")
        self.weight = nn.Parameter(torch.empty(count, size))
        nn.init.normal_(self.weight)

    @property
    def rows(self) -> Tensor:
        """The components as rows of about unit length `(count, size)`."""
        return self.weight * self.weight.shape[1] ** -0.5

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors `(..., size)` to their components `(..., count)`."""
        return vectors @ self.rows.to(vectors.dtype).T

    @torch.no_grad()
    def start(self, rows: Tensor) -> None:
        """Takes components `(count, size)` of unit length."""
        self.weight.copy_(rows * self.weight.shape[1] ** 0.5)


class Whitened(nn.Module):
    """Components of vectors, each brought to about unit size by a gain of its own.

    Args:
        size: of the vectors.
        count: number of components, at most `size`.
    """

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.components = Components(size, count)
        self.gain = nn.Parameter(torch.ones(count))

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors `(..., size)` to features `(..., count)`."""
        return self.components(vectors) * self.gain

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """Takes the principal components of vectors `(N, size)`, and what brings each to unit size."""
        rows, variances = principal_components(vectors, len(self.gain))
        self.components.start(rows)
        self.gain.copy_(variances.clamp(min=SMALLEST * variances.sum()).rsqrt())


def principal_components(vectors: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The directions about 0 in which vectors `(N, size)` are largest: `(count, size)`, and mean squares `(count,)`."""
    second = vectors.double().T @ vectors.double() / len(vectors)
    squares, directions = torch.linalg.eigh(second)
    first = slice(-count, None)
    return directions[:, first].flip(1).T.float(), squares[first].flip(0).clamp(min=0).float()
