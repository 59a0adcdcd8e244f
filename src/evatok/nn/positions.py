"""Positions as functions of coordinates, so that the same weights serve every grid and every level.

A coordinate is `(time, y, x)`: time in blocks from the clip's start, y and x from the picture's centre in units of the
trained square's side. A square stays a square, and a picture of the trained area has size about 1 by 1.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

# Numbers of waves, each half as long as the one before. Those in space are 2 to 1/16 sides of the trained square long:
# the longest tells all places of a picture apart, the shortest is half a patch of `tiny`. Those in time are 25 to 6
# blocks long, so that each tells all blocks of a clip of four apart. These functions of coordinates are ours.
SPATIAL_FEATURES = 6
TIME_FEATURES = 3


@lru_cache(maxsize=4096)
def nearest_grid(cells: int, aspect: float) -> tuple[int, int]:
    """The `(h, w)` with `h * w == cells` whose aspect `h / w` is nearest to `aspect` on a log scale.

    Of two equally near ones the wider is taken.
    """
    pairs = [(h, cells // h) for h in range(1, cells + 1) if cells % h == 0]
    return min(pairs, key=lambda pair: (round(abs(math.log(pair[0] / pair[1] / aspect)), 9), pair[0]))


@lru_cache(maxsize=4096)
def cell_centres(grid: tuple[int, int], extent: tuple[float, float]) -> Tensor:
    """Centres `(h * w, 2)` float32 of the cells of a grid over a picture `extent` high and wide."""
    y, x = (
        ((torch.arange(cells, dtype=torch.float64) + 0.5) / cells - 0.5) * side
        for cells, side in zip(grid, extent, strict=True)
    )
    return torch.cartesian_prod(y, x).view(-1, 2).float()


def pooling_matrix(cells: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Matrix `(cells, grid positions)` that pools a grid of features to cells; its rows sum to 1.

    Along a side with fewer cells than positions a cell is the mean over the area that it covers; along one with more
    it is interpolated linearly between the positions' centres.
    """
    vertical, horizontal = (_pooling_side(cells[axis], grid[axis]) for axis in range(2))
    return torch.kron(vertical, horizontal).float()


def resizing_matrix(cells: int, positions: int) -> Tensor:
    """Matrix `(cells, positions)` float32 that brings one side of a picture to another size, as `pooling_matrix`."""
    return _pooling_side(cells, positions).float()


def like(tensor: Tensor, matrix: Callable[..., Tensor], *sizes: Any) -> Tensor:
    """`matrix(*sizes)` where `tensor` is and of its type; it is moved there once."""
    return _moved(matrix, sizes, tensor.device, tensor.dtype)


@lru_cache(maxsize=4096)
@torch.inference_mode(False)  # training uses those that were made before it
def _moved(matrix: Callable[..., Tensor], sizes: tuple[Any, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    return matrix(*sizes).to(device, dtype)


def _pooling_side(cells: int, positions: int) -> Tensor:
    if cells <= positions:
        edges = torch.arange(cells + 1, dtype=torch.float64) * positions / cells
        upper = torch.minimum(edges[1:, None], torch.arange(1, positions + 1))
        lower = torch.maximum(edges[:-1, None], torch.arange(positions))
        return (upper - lower).clamp(min=0) * cells / positions
    centre = ((torch.arange(cells, dtype=torch.float64) + 0.5) * positions / cells - 0.5).clamp(0, positions - 1)
    return (1 - (centre[:, None] - torch.arange(positions)).abs()).clamp(min=0)


def patch_offsets(cells: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """How far below and right of their patch's centre cells lie, `(cells, 2)` float32 in sides of a patch.

    0 along a side where cells are no finer than patches.
    """
    down, across = (_side_offsets(cells[axis], grid[axis]) for axis in range(2))
    return torch.cartesian_prod(down, across).view(-1, 2).float()


def _side_offsets(cells: int, positions: int) -> Tensor:
    if cells <= positions:
        return torch.zeros(cells, dtype=torch.float64)
    centre = (torch.arange(cells, dtype=torch.float64) + 0.5) * positions / cells
    return centre - centre.floor() - 0.5


class PositionEmbedding(nn.Module):
    """A linear map of the Fourier features of coordinates and, where asked, of the level.

    Args:
        width: size of the embedding.
        with_level: whether elements belong to a level, the number of tokens of their block.
    """

    def __init__(self, width: int, with_level: bool) -> None:
        super().__init__()
        features = 1 + 3 + 2 * (TIME_FEATURES + 2 * SPATIAL_FEATURES) + 3 * with_level
        self.with_level = with_level
        self.linear = nn.Linear(features, width)

    def forward(self, coordinates: Tensor, level: Tensor | None = None) -> Tensor:
        """Coordinates `(N, 3)` and token counts `(N,)` of the elements' blocks to embeddings `(N, width)`."""
        time, space = coordinates[:, :1], coordinates[:, 1:]
        features = [
            torch.ones_like(time),
            coordinates,
            _waves(space, like(coordinates, _space_frequencies)),
            _waves(time, like(coordinates, _time_frequencies)),
        ]
        if self.with_level:
            assert level is not None
            # Ours, not the paper's: elements know their level, by functions of the count that serve any level. They are
            # the logarithm (of 256 tokens it is 1), its square, and the side of a cell over that of a square picture.
            logarithm = torch.log2(level.to(coordinates.dtype))[:, None] / 8
            features += [logarithm, logarithm**2, torch.rsqrt(level.to(coordinates.dtype))[:, None]]
        return self.linear(torch.cat(features, 1).to(self.linear.weight.dtype))


def _space_frequencies() -> Tensor:
    """Of sines over y and x, in radians a side of the trained square; `SPATIAL_FEATURES` says what they tell apart."""
    return math.pi * 2.0 ** torch.arange(SPATIAL_FEATURES)


def _time_frequencies() -> Tensor:
    """Of sines over time, in radians a block."""
    return 2.0 ** -torch.arange(TIME_FEATURES)


def _waves(coordinates: Tensor, frequencies: Tensor) -> Tensor:
    """Sine and cosine `(N, 2 * frequencies * axes)` of coordinates `(N, axes)`, frequency by frequency."""
    angles = coordinates[:, None] * frequencies[:, None]
    return torch.stack((angles.sin(), angles.cos()), 2).flatten(1)


class Rotary(nn.Module):
    """Rotary angles from coordinates: a quarter of a head's pairs turn with time, the rest with y and x.

    Args:
        head_dim: size of a head, a multiple of 16.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        if head_dim % 16:
            raise ValueError(f"head_dim must be a multiple of 16, got {head_dim}")
        self.head_dim = head_dim

    def forward(self, coordinates: Tensor) -> Tensor:
        """Coordinates `(N, 3)` to angles as `rotate` takes them, `(2, N, 1, head_dim)` float32."""
        angles = coordinates.float() @ like(coordinates.float(), _rotary_frequencies, self.head_dim)
        cosine, sine = angles.cos(), angles.sin()
        return torch.stack((torch.cat((cosine, cosine), 1), torch.cat((-sine, sine), 1)))[:, :, None]


def _rotary_frequencies(head_dim: int) -> Tensor:
    """Radians by which each pair of channels turns with time, y and x, `(3, head_dim / 2)` float32.

    A whole turn takes 4 to 200 blocks, so that no two blocks of a clip of four are alike to any pair, or from 6 sides
    of the trained square, more than any picture has, down to 1/8, a patch of `tiny`.
    """
    pairs = head_dim // 2
    time = torch.logspace(0.2, -1.5, pairs // 4, base=10)
    space = torch.logspace(0, 1.7, (pairs - pairs // 4) // 2, base=10)
    frequencies = torch.zeros(3, pairs)
    frequencies[0, : len(time)] = time
    frequencies[1, len(time) : len(time) + len(space)] = space
    frequencies[2, len(time) + len(space) : len(time) + 2 * len(space)] = space
    return frequencies


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turns the pairs (channel `i`, channel `i + head_dim / 2`) of `x` `(N, heads, head_dim)`.

    `angles` are cosines, and sines with their signs, of every channel, as `Rotary` gives them.
    """
    cosine, sine = angles.to(x.dtype)
    turned: Tensor = _Rotation.apply(x, cosine, sine)
    return turned


class _Rotation(torch.autograd.Function):
    """A turn, and for the gradient the turn back: neither keeps `x` nor makes more than its result."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _turned(x, cosine, sine, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return _turned(gradient, cosine, sine, -1), None, None


def _turned(x: Tensor, cosine: Tensor, sine: Tensor, direction: int) -> Tensor:
    turned, half = x * cosine, x.shape[-1] // 2
    turned[..., :half].addcmul_(x[..., half:], sine[..., :half], value=direction)
    turned[..., half:].addcmul_(x[..., :half], sine[..., half:], value=direction)
    return turned
