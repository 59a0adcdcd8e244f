"""Elements of clips of unequal lengths in one tensor, and where each element belongs.

A `Layout` says how many elements each block of each clip has; `Packed` is a layout with values. Elements lie clip
after clip, within a clip block after block, without any padding. Consecutive clips of equal lengths form a *run*, a
rectangular piece that can be viewed as `(clips, length, ...)` without copying.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, groupby
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Number of elements of each block of each clip.

    Args:
        lengths: for each clip the lengths of its blocks.
        first_block: number of the first block in `lengths`; above 0 where the earlier blocks are held elsewhere, as
            when streaming.
    """

    lengths: tuple[tuple[int, ...], ...]
    first_block: int = 0

    @classmethod
    def of(cls, lengths: Sequence[Sequence[int]], first_block: int = 0) -> "Layout":
        """The layout of nested lists, such as `[[64, 32, 32, 32], [8, 8, 8, 8]]` for two clips of four blocks.

        Raises:
            TypeError: `lengths` is something else, such as a tensor, whose values may have to be waited for.
        """
        if not all(isinstance(row, Sequence) and all(isinstance(each, int) for each in row) for row in lengths):
            raise TypeError(f"lengths must be a list of integers for each clip, got {type(lengths).__name__} {lengths}")
        return cls(tuple(map(tuple, lengths)), first_block)

    @cached_property
    def size(self) -> int:
        """Number of elements."""
        return sum(map(sum, self.lengths))

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each clip starts, and at the end the number of elements."""
        return tuple(accumulate(map(sum, self.lengths), initial=0))

    @cached_property
    def block(self) -> Tensor:
        """Number of the block of each element, `(size,)` int64, counted from the clip's start."""
        flat = [(self.first_block + t, n) for lengths in self.lengths for t, n in enumerate(lengths)]
        blocks, counts = torch.tensor(flat).view(-1, 2).unbind(1)
        return torch.repeat_interleave(blocks, counts)

    @cached_property
    def first_of_block(self) -> Tensor:
        """Place of the first element of each block of each clip, `(blocks of all clips,)` int64."""
        flat = [n for lengths in self.lengths for n in lengths]
        return torch.tensor([0, *flat[:-1]]).cumsum(0)


class Run(NamedTuple):
    """Consecutive clips that are alike in several layouts: which is the first, how many, where each layout has them."""

    first: int
    clips: int
    places: tuple[slice, ...]


def runs_of(*layouts: Layout) -> list[Run]:
    """Layouts of the same clips, cut into runs."""
    runs, clip = [], 0
    for _, alike in groupby(zip(*(layout.lengths for layout in layouts), strict=True)):
        stop = clip + len(list(alike))
        places = tuple(slice(layout.starts[clip], layout.starts[stop]) for layout in layouts)
        runs.append(Run(clip, stop - clip, places))
        clip = stop
    return runs


class Group(NamedTuple):
    """One block of all clips that have as many elements in it.

    Args:
        block: its place in the layout, from 0 on.
        length: number of elements.
        clips: these clips, in order, `(n,)` int64.
        rows: where the elements of each lie, `(n, length)` int64.
    """

    block: int
    length: int
    clips: Tensor
    rows: Tensor


@lru_cache(maxsize=16)  # the parts of a model share them
@torch.inference_mode(False)  # and training those that were made before it
def groups_of(layout: Layout, device: torch.device) -> tuple[Group, ...]:
    """A layout cut into groups, block by block, their numbers on a device."""
    shapes, tables = [], []
    lengths = torch.tensor(layout.lengths).view(len(layout.lengths), -1)
    firsts = lengths.flatten().cumsum(0).view_as(lengths) - lengths
    for block in range(lengths.shape[1]):
        for length in lengths[:, block].unique().tolist():
            clips = (lengths[:, block] == length).nonzero()[:, 0]
            rows = firsts[clips, block][:, None] + torch.arange(length)
            shapes.append((block, length, len(clips)))
            tables += [clips, rows.flatten()]
    moved = on_device(torch.cat(tables), device).split([len(table) for table in tables])
    pairs = zip(shapes, moved[::2], moved[1::2], strict=True)
    return tuple(Group(block, length, clips, rows.view(n, length)) for (block, length, n), clips, rows in pairs)


def rows_of(values: Tensor, index: Tensor) -> Tensor:
    """Rows of values by ascending numbers; without a copy where these are all."""
    return values if len(index) == len(values) else values.index_select(0, index)


def in_order(parts: Sequence[Tensor], places: Sequence[Tensor]) -> Tensor:
    """Rows that were made in parts, in the order of their places, which are numbers from 0 on."""
    if len(places) == 1:
        return parts[0]
    return torch.cat(tuple(parts)).index_select(0, torch.cat(tuple(places)).argsort())


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def shares_of(layout: Layout, device: torch.device) -> Tensor:
    """Weight of each element in a mean over clips of means over a clip's elements, `(size,)` float32 on a device."""
    counts = torch.tensor([sum(lengths) for lengths in layout.lengths])
    return on_device(torch.repeat_interleave(1 / (len(counts) * counts), counts), device)


def on_device(table: Tensor, device: torch.device) -> Tensor:
    """A small table from the CPU on a device, without waiting for what that is busy with."""
    return table.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else table


@dataclass(frozen=True)
class Packed:
    """Values `(N, ...)` of the elements of a layout with `size` N."""

    values: Tensor
    layout: Layout

    def __post_init__(self) -> None:
        if len(self.values) != self.layout.size:
            raise ValueError(f"values has {len(self.values)} elements, its layout {self.layout.size}")

    def with_values(self, values: Tensor) -> "Packed":
        """Other values for the same elements."""
        return Packed(values, self.layout)


def append_blocks(earlier: Packed, later: Packed) -> Packed:
    """Joins the earlier and later blocks of the same clips.

    Raises:
        ValueError: if the clips differ in number or the blocks do not follow each other.
    """
    if len(earlier.layout.lengths) != len(later.layout.lengths):
        clips = len(earlier.layout.lengths), len(later.layout.lengths)
        raise ValueError(f"earlier and later blocks belong to {clips[0]} and {clips[1]} clips")
    stop = {earlier.layout.first_block + len(lengths) for lengths in earlier.layout.lengths}
    if stop != {later.layout.first_block}:
        raise ValueError(f"blocks up to {stop} cannot be followed by block {later.layout.first_block}")
    layout = Layout(
        tuple(a + b for a, b in zip(earlier.layout.lengths, later.layout.lengths, strict=True)),
        earlier.layout.first_block,
    )
    pieces = []
    for run in runs_of(earlier.layout, later.layout):
        values = [part.values[place] for part, place in zip((earlier, later), run.places, strict=True)]
        pieces.append(torch.cat([each.unflatten(0, (run.clips, -1)) for each in values], 1).flatten(0, 1))
    return Packed(pieces[0] if len(pieces) == 1 else torch.cat(pieces), layout)


def pick_clips(parts: Sequence[Packed], places: Sequence[tuple[int, int]]) -> Packed:
    """Clips out of several parts with the same first block: `places` are (part, clip) of each, in the new order."""
    if len(parts) == 1 and len(set(parts[0].layout.lengths)) == 1:
        return _pick_alike(parts[0], [clip for _, clip in places])
    pieces, lengths = [], []
    for part, clip in places:
        layout = parts[part].layout
        pieces.append(parts[part].values[layout.starts[clip] : layout.starts[clip + 1]])
        lengths.append(layout.lengths[clip])
    return Packed(torch.cat(pieces), Layout(tuple(lengths), parts[0].layout.first_block))


def _pick_alike(packed: Packed, clips: list[int]) -> Packed:
    """Some of clips that are all alike, at once."""
    lengths, values = packed.layout.lengths, packed.values.unflatten(0, (len(packed.layout.lengths), -1))
    picked = values.index_select(0, on_device(torch.tensor(clips), values.device)).flatten(0, 1)
    return Packed(picked, Layout(lengths[:1] * len(clips), packed.layout.first_block))
