"""A start that already codes: linear maps and codebook of a sketch, fitted to training clips before the first step.

Maps begin as principal components of patches and of what a sketch lacks, the codebook as the means of a clustering of
what is then coded. Both depend on each other through the sketch, so they are fitted in a few rounds.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from evatok.nn.components import principal_components
from evatok.nn.packed import Layout
from evatok.tokenizer.network import TokenizerNetwork
from evatok.tokenizer.picture import Picture
from evatok.tokenizer.quantizer import VectorQuantizer
from evatok.tokenizer.sketch import Pass, Sketch, area_powers

ROUNDS = 3  # of fitting maps and codebook
MOST_PATCHES = 20_000  # that components are taken from
MOST_CELLS = 64  # of a group of clips, block and round
MOST_TOKENS = 30_000  # of a codebook that are clustered
SMALLEST_SIZE = 1e-3  # of what is missing: a group may lack nothing


class _Cells(NamedTuple):
    """Cells of what a sketch lacks `(n, size)`, the kind of their pass, and the powers of their area."""

    values: Tensor
    kind: int
    powers: tuple[float, float, float]


class _Seen(NamedTuple):
    """What coding came by: cells of each pass, and the components of tokens `(n, dim)` by their codebook."""

    cells: list[_Cells]
    tokens: dict[int, list[Tensor]]


@torch.no_grad()
def start(network: TokenizerNetwork, videos: Sequence[Tensor], generator: torch.Generator) -> None:
    """Fits the linear parts of a network with a sketch, and its codebook if it has one.

    Args:
        network: with random weights.
        videos: groups of training clips `(B, F, 3, H, W)` float32 in [-1, 1], as training has them.
        generator: of assignments and samples.

    Raises:
        ValueError: the network has no sketch.
    """
    if network.sketch is None or network.decoder.patches is None:
        raise ValueError("a start from clips needs a tokenizer with a sketch")
    with torch.autocast(network.device.type, enabled=False):
        network.encoder.patches.start(videos, MOST_PATCHES, generator)
        longer = [_with_frame_before(video, network.config.block_frames) for video in videos]
        network.decoder.patches.start(longer, MOST_PATCHES, generator)
        for number in range(ROUNDS):
            # Before there is a codebook, what it would lose is left out.
            seen = _code(network, videos, generator, quantize=number > 0)
            _fit_sketch(network.sketch, seen.cells)
            seen = _code(network, videos, generator, quantize=number > 0)
            if isinstance(network.quantizer, VectorQuantizer):
                for book, tokens in seen.tokens.items():
                    network.quantizer.fit(_some(torch.cat(tokens), MOST_TOKENS, generator), generator, book)


def _code(network: TokenizerNetwork, videos: Iterable[Tensor], generator: torch.Generator, quantize: bool) -> _Seen:
    """Codes videos by the sketch alone, each group under a random assignment."""
    seen, config, sketch = _Seen([], {}), network.config, network.sketch
    assert sketch is not None
    for video in videos:
        size = (video.shape[-2], video.shape[-1])
        layout = Layout.of([config.space.sample(generator).tolist()] * len(video))
        picture, blocks = Picture.of(size, config), video.unflatten(1, (-1, config.block_frames))

        # All clips of a video are in one group, for they share an assignment.
        def codes_of(part: Pass, drawn: Tensor, picture: Picture = picture, blocks: Tensor = blocks) -> Tensor:
            missing, count = blocks[:, part.block] - drawn, part.rows.shape[1]
            cells = picture.cells(missing, count).flatten(0, 1)
            powers = area_powers(count, picture.grid)
            seen.cells.append(_Cells(_some(cells, MOST_CELLS, generator), part.kind, powers))
            features = sketch.components(missing, count, part.kind).flatten(0, 1)
            seen.tokens.setdefault(config.book(part.kind), []).append(features)
            values = network.quantizer(features, config.book(part.kind)).values if quantize else features
            return values.unflatten(0, (len(drawn), -1))

        sketch.draw_by(layout, size, None, codes_of)
    return seen


def _fit_sketch(sketch: Sketch, seen: list[_Cells]) -> None:
    """Takes the principal components of what is missing, by kind of pass, and its size by the area of a cell."""
    for kind in range(len(sketch.log_size)):
        groups = [cells for cells in seen if cells.kind == kind]
        if not groups:
            continue  # of passes that no level has
        # Each group counts as much as another, whatever the size of what it lacks.
        even = torch.cat([cells.values / _size(cells.values) for cells in groups])
        rows, _ = principal_components(even, sketch.config.quantizer.dim)
        sizes = torch.stack([_size(cells.values @ rows.T) for cells in groups]).log()
        powers = torch.tensor([cells.powers for cells in groups]).to(sizes)
        # On the CPU: this driver takes powers that one area alone does not tell apart.
        solved = torch.linalg.lstsq(powers.cpu(), sizes.cpu()[:, None], driver="gelsd").solution
        sketch.start(kind, rows, solved[:, 0])


def _size(vectors: Tensor) -> Tensor:
    return vectors.square().sum(1).mean().sqrt().clamp(min=SMALLEST_SIZE)


def _with_frame_before(video: Tensor, block_frames: int) -> Tensor:
    """Blocks of a video, each after the frame before it, grey for the first: `(B, blocks * (1 + frames), ...)`."""
    blocks = video.unflatten(1, (-1, block_frames))
    before = torch.cat((torch.zeros_like(blocks[:, :1, -1:]), blocks[:, :-1, -1:]), 1)
    return torch.cat((before, blocks), 2).flatten(1, 2)


def _some(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """At most `count` of the rows, at random."""
    return rows[torch.randperm(len(rows), generator=generator)[:count].to(rows.device)]
