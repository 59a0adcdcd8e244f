"""The sketch: what codes draw by linear maps alone, block after block, as a video codec does.

A block's sketch begins with the last frame of the sketch of the block before. What is missing is looked at through the
cells of the block's tokens, each brought to the size of a patch; a token's code holds a few components of it, and the
decoded components are added. With several passes a share of the tokens does this after the other, on finer grids. So
more tokens are finer grids, and where nothing moves later blocks refine earlier ones. Encoder and decoder draw the same
sketch: it is a function of the codes. The encoder needs no more than it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import log2
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from evatok.nn.components import Components
from evatok.nn.packed import Group, Layout, Packed, groups_of, in_order, rows_of
from evatok.nn.positions import like
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.picture import Picture
from evatok.tokenizer.quantizer import Quantized


class Pass(NamedTuple):
    """A pass over one block of all clips that have as many tokens in it.

    Args:
        block: its place in the layout, from 0 on.
        kind: which linear maps it takes.
        clips: these clips, in order, `(n,)` int64.
        rows: where the tokens of each lie, `(n, cells)` int64.
    """

    block: int
    kind: int
    clips: Tensor
    rows: Tensor


# Codes of features `(n, dim)` of a pass of a kind.
Quantize = Callable[[Tensor, int], Quantized]
# Gives codes `(clips, cells, dim)` for a pass, and the sketch of the block by then `(clips, f, 3, H, W)`.
CodesOf = Callable[[Pass, Tensor], Tensor]


@dataclass(frozen=True)
class Drawing:
    """A sketch of blocks of clips.

    Args:
        before: the frame that each block begins with `(B, blocks, 3, H, W)`.
        frames: the sketch `(B, blocks, frames of a block, 3, H, W)`, about [-1, 1].
    """

    before: Tensor
    frames: Tensor

    @property
    def last(self) -> Tensor:
        """The last frame `(B, 3, H, W)`, from which later blocks go on."""
        return self.frames[:, -1, -1]

    @property
    def video(self) -> Tensor:
        """The sketch as `(B, F, 3, H, W)`."""
        return self.frames.flatten(1, 2)


class Sketch(nn.Module):
    """Pixels of cells to codes and back, for blocks that begin a clip and for later ones. Computes in float32."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        frames, height, width = config.patch
        size, dim = 3 * frames * height * width, config.quantizer.dim
        assert config.sketch is not None
        kinds = config.sketch.kinds
        self.carries = config.sketch.carry
        self.readers = nn.ModuleList(Components(size, dim) for _ in range(kinds))
        self.writers = nn.ModuleList(Components(size, dim) for _ in range(kinds))
        # Logarithm of the size of what is missing, for each kind a parabola over the logarithm of a cell's area.
        self.log_size = nn.Parameter(torch.zeros(kinds, 3))

    def encode(
        self, video: Tensor, features: Packed, quantize: Quantize, last: Tensor | None
    ) -> tuple[Quantized, Drawing]:
        """Quantizes the tokens of blocks, one pass after another, since each sees what the sketch lacks by then.

        Args:
            video: the frames of the blocks, `(B, F, 3, H, W)` in [-1, 1].
            features: what is added to each token's components before it is quantized, `(N, dim)`.
            quantize: features of a pass to what is passed on.
            last: the last frame of the sketch of the blocks before, `(B, 3, H, W)`; None where there are none.

        Returns:
            The quantized tokens of all clips, and the sketch.
        """
        blocks, values = video.float().unflatten(1, (-1, self.config.block_frames)), features.values.float()
        found: list[Quantized] = []
        rows: list[Tensor] = []

        def code(part: Pass, drawn: Tensor) -> Tensor:
            missing = rows_of(blocks[:, part.block], part.clips) - drawn
            cells = self.components(missing, part.rows.shape[1], part.kind)
            quantized = quantize((cells + values[part.rows]).flatten(0, 1), part.kind)
            found.append(quantized)
            rows.append(part.rows.flatten())
            return quantized.values.unflatten(0, (len(drawn), -1))

        with torch.autocast(video.device.type, enabled=False):
            drawing = self.draw_by(features.layout, (video.shape[-2], video.shape[-1]), last, code)
        parts = zip(*((each.values, each.ids, each.features) for each in found), strict=True)
        return Quantized(*(in_order(each, rows) for each in parts)), drawing

    def draw(self, codes: Packed, size: tuple[int, int], last: Tensor | None) -> Drawing:
        """The sketch that codes `(N, dim)` make; `last` as in `encode`."""
        values = codes.values.float()
        with torch.autocast(values.device.type, enabled=False):
            return self.draw_by(codes.layout, size, last, lambda part, drawn: values[part.rows])

    def draw_by(
        self,
        layout: Layout,
        size: tuple[int, int],
        last: Tensor | None,
        codes_of: CodesOf,
    ) -> Drawing:
        """The sketch by codes that are asked for when their turn comes."""
        grey = self.log_size.new_zeros((len(layout.lengths), 3, *size), dtype=torch.float32)
        before = grey if last is None or not self.carries else last
        starts, drawn = [], []
        picture = Picture.of(size, self.config)
        for block, groups in groupby(groups_of(layout, grey.device), lambda group: group.block):
            parts, clips = [], []
            for group in groups:
                frames = rows_of(before, group.clips)[:, None].expand(-1, self.config.block_frames, -1, -1, -1)
                for part in self._passes(group, picture, layout.first_block + block):
                    frames = frames + self.pixels(codes_of(part, frames), part.kind, picture)
                parts.append(frames)
                clips.append(group.clips)
            frames = in_order(parts, clips)
            starts.append(before)
            drawn.append(frames)
            before = frames[:, -1] if self.carries else before
        return Drawing(torch.stack(starts, 1), torch.stack(drawn, 1))

    def components(self, frames: Tensor, cells: int, kind: int) -> Tensor:
        """What `cells` cells hold of the frames of a block `(B, f, 3, H, W)`: `(B, cells, dim)`, of size about 1."""
        picture = Picture.of((frames.shape[-2], frames.shape[-1]), self.config)
        read = picture.cells(frames, cells) @ _rows(self.readers, kind).T
        return read * (-self._log_size(kind, cells, picture)).exp()

    def pixels(self, codes: Tensor, kind: int, picture: Picture) -> Tensor:
        """What codes `(B, cells, dim)` of a pass draw: `(B, f, 3, H, W)`."""
        sized = codes * self._log_size(kind, codes.shape[1], picture).exp()
        return picture.frames(sized @ _rows(self.writers, kind))

    def _passes(self, group: Group, picture: Picture, block: int) -> Iterator[Pass]:
        """The passes over a group of blocks that are number `block` of their clips."""
        first, sketch = 0, self.config.sketch
        assert sketch is not None
        for number, cells in enumerate(picture.passes(group.length)):
            kind = sketch.kind(block, number)
            yield Pass(group.block, kind, group.clips, group.rows[:, first : first + cells])
            first += cells

    @torch.no_grad()
    def start(self, kind: int, rows: Tensor, log_size: Tensor) -> None:
        """Reads and writes passes of a kind by components `(dim, size)`; `log_size` as the weight of that name."""
        for components in (self.readers[kind], self.writers[kind]):
            cast(Components, components).start(rows)
        self.log_size[kind] = log_size.to(self.log_size)

    def _log_size(self, kind: int, cells: int, picture: Picture) -> Tensor:
        log_size = self.log_size[kind].float()
        return log_size @ like(log_size, _powers, cells, picture.grid)


def _rows(maps: nn.ModuleList, kind: int) -> Tensor:
    """Components of a kind `(dim, size)`.

    Out of a stack of all kinds: what a batch has no pass of gets a gradient of 0 then, which other processes wait for.
    """
    return torch.stack([cast(Components, each).rows.float() for each in maps])[kind]


@lru_cache(maxsize=4096)
def area_powers(cells: int, grid: tuple[int, int]) -> tuple[float, float, float]:
    """Powers 0 to 2 of how often a cell's area must be doubled or halved to be a patch's."""
    doublings = log2(grid[0] * grid[1] / cells)
    return 1.0, doublings, doublings**2


def _powers(cells: int, grid: tuple[int, int]) -> Tensor:
    return torch.tensor(area_powers(cells, grid))
