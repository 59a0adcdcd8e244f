"""What predictors of a clip's table of LPIPS under every assignment are made of.

The search measures a table, a router predicts it. Cheaper ones, which a router must beat, are regressions from one
number a block.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from evatok.assignment import AssignmentSpace
from evatok.video.fit import to_signed

_STRENGTHS = 10.0 ** torch.arange(-3, 4, dtype=torch.float64)
_SMALLEST = 1e-4  # of a feature before its logarithm


def table_of(values: Tensor, space: AssignmentSpace) -> Tensor:
    """A table `(B, len(space))` out of values `(B, prefixes)` of each block under each prefix: means over blocks.

    The space may have fewer blocks than the values: shorter prefixes are numbered first.
    """
    return values[:, space.prefixes.to(values.device)].mean(2)


def blocks_of(video: Tensor, block_frames: int) -> int:
    """Blocks of clips `(B, F, ...)`, the last of which may be incomplete."""
    return -(-video.shape[1] // block_frames)


def motion(video: Tensor, block_frames: int) -> Tensor:
    """Mean absolute change from each frame to the next, by block, `(B, blocks)` float32.

    Args:
        video: `(B, F, 3, H, W)`, uint8 or float in [-1, 1]; the change is that of values in [-1, 1].
        block_frames: frames of a block. The step into a block belongs to it; a block of one frame alone has 0.
    """
    change = to_signed(video).diff(dim=1).abs().flatten(2).mean(2)
    # The first frame follows no other: it counts nowhere.
    parts = [
        change[:, max(start - 1, 0) : start + block_frames - 1] for start in range(0, video.shape[1], block_frames)
    ]
    return torch.stack([part.mean(1) if part.shape[1] else part.new_zeros(len(part)) for part in parts], 1)


@dataclass(frozen=True)
class BlockRidge:
    """Ridge regressions from one positive number a block to the values of each block under each prefix.

    Values of a block are regressed on the logarithms, and their squares, of the numbers of blocks up to it alone: what
    follows cannot change them, and a shorter clip is the beginning of a longer one.

    Args:
        space: the assignments of a full clip.
        weights: for each block a matrix `(1 + 2 * blocks so far, prefixes of that length)` float64.
    """

    space: AssignmentSpace
    weights: tuple[Tensor, ...]

    @classmethod
    def fit(cls, space: AssignmentSpace, features: Tensor, values: Tensor) -> "BlockRidge":
        """Fits features `(clips, blocks)` to values `(clips, prefixes)`.

        The strength is that with the least error on clips left out one by one, of 0.001 to 1000.
        """
        starts = space.prefix_starts
        weights = [
            _ridge(_expanded(features[:, : block + 1]), values[:, starts[block] : starts[block + 1]].double())
            for block in range(space.blocks)
        ]
        return cls(space, tuple(weights))

    def __call__(self, features: Tensor) -> Tensor:
        """Values `(clips, prefixes of up to that many blocks)` float64 of features `(clips, 1 to T blocks)`."""
        blocks = range(features.shape[1])
        return torch.cat([_expanded(features[:, : block + 1]) @ self.weights[block] for block in blocks], 1)


def _expanded(features: Tensor) -> Tensor:
    logarithms = features.double().clamp(min=_SMALLEST).log()
    return torch.cat([torch.ones(len(features), 1, dtype=torch.float64), logarithms, logarithms.square()], 1)


def _ridge(features: Tensor, values: Tensor) -> Tensor:
    """Weights of a ridge regression on standardised features, whose first column, of ones, is not shrunk."""
    mean, spread = features[:, 1:].mean(0), features[:, 1:].std(0, correction=0).clamp(min=1e-9)
    standard = (features[:, 1:] - mean) / spread
    offset = values.mean(0)
    vectors, sizes, turned = torch.linalg.svd(standard, full_matrices=False)
    across = vectors.T @ (values - offset)
    best = min(_STRENGTHS.tolist(), key=lambda strength: _left_out(vectors, sizes, across, values - offset, strength))
    slopes = turned.T @ ((sizes / (sizes.square() + best))[:, None] * across) / spread[:, None]
    return torch.cat([(offset - mean @ slopes)[None], slopes])


def _left_out(vectors: Tensor, sizes: Tensor, across: Tensor, values: Tensor, strength: float) -> float:
    """Mean squared error on each clip of the regression that is fitted to all others."""
    share = sizes.square() / (sizes.square() + strength)
    leverage = (vectors.square() @ share + 1 / len(vectors)).clamp(max=1 - 1e-6)
    error = (values - vectors @ (share[:, None] * across)) / (1 - leverage)[:, None]
    return error.square().mean().item()
