"""Attention over blocks of unequal lengths: `attend`.

A *segment* is one block of one clip: its queries are the block's elements, its keys those of the clip's blocks up to
and including that block. That is all the causality there is in the tokenizer (paper, section 3).

Backends stand side by side and agree with a dense mask. On a CPU, and in float32, exact slices need no mask and no
padding: every segment is a plain attention, and segments of equal shape are stacked into one call. In half precision
on a GPU all segments are one call of a kernel for sequences of unequal lengths, whatever their mix.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from inspect import signature
from itertools import accumulate
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from evatok.nn.packed import Layout, on_device, runs_of


@dataclass(frozen=True)
class Segments:
    """Which keys each query sees: those of its clip in blocks up to its own.

    Args:
        queries: layout of the queries.
        keys: layout of the keys, of the same clips. It may begin before the queries (earlier blocks handed down).

    Raises:
        ValueError: if the clips differ in number, or a block of queries has no keys of its own block.
    """

    queries: Layout
    keys: Layout

    def __post_init__(self) -> None:
        if len(self.queries.lengths) != len(self.keys.lengths):
            clips = len(self.queries.lengths), len(self.keys.lengths)
            raise ValueError(f"queries belong to {clips[0]} clips, keys to {clips[1]}")
        if self.keys.first_block > self.queries.first_block:
            raise ValueError(
                f"keys begin at block {self.keys.first_block}, after the queries' {self.queries.first_block}"
            )
        ahead = self.queries.first_block - self.keys.first_block
        for clip, (queries, keys) in enumerate(zip(self.queries.lengths, self.keys.lengths, strict=True)):
            if len(keys) != ahead + len(queries):
                raise ValueError(f"clip {clip} has {ahead + len(queries)} blocks of queries but {len(keys)} of keys")

    @cached_property
    def runs(self) -> "tuple[SegmentRun, ...]":
        """Consecutive clips of equal lengths in queries and keys."""
        ahead = self.queries.first_block - self.keys.first_block
        return tuple(
            SegmentRun(
                run.clips,
                queries=run.places[0],
                keys=run.places[1],
                lengths=self.queries.lengths[run.first],
                prefixes=tuple(accumulate(self.keys.lengths[run.first]))[ahead:],
            )
            for run in runs_of(self.queries, self.keys)
        )

    @cached_property
    def stacks(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Segments of equal shape together, each as (run, block within the run)."""
        stacks: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for number, run in enumerate(self.runs):
            for block, shape in enumerate(zip(run.lengths, run.prefixes, strict=True)):
                stacks[shape].append((number, block))
        return tuple(map(tuple, stacks.values()))


class SegmentRun(NamedTuple):
    """Consecutive clips of equal lengths: where they lie, and each block's queries and number of visible keys."""

    clips: int
    queries: slice
    keys: slice
    lengths: tuple[int, ...]
    prefixes: tuple[int, ...]


def attend(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    """Block-causal attention over packed elements.

    Args:
        q: queries `(N, heads, dim)`, N being `segments.queries.size`.
        k: keys `(M, heads, dim)`, M being `segments.keys.size`.
        v: values, like `k`.
        segments: who sees whom.

    Returns:
        `(N, heads, dim)`, of the type of `q`.
    """
    if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16):
        return _attend_varlen(q, k, v, segments)
    return _attend_slices(q, k, v, segments)


class VarlenTables(NamedTuple):
    """What a kernel for sequences of unequal lengths must know of segments, in the queries' own order.

    Args:
        queries: where each segment's queries begin, and the end; int32 `(segments + 1,)`.
        keys: where each segment's keys begin among the gathered ones, and the end; int32 `(segments + 1,)`.
        gathered: the keys of all segments one after the other, as places among the packed ones; int64.
        most_queries: of one segment.
        most_keys: of one segment.
    """

    queries: Tensor
    keys: Tensor
    gathered: Tensor
    most_queries: int
    most_keys: int


@lru_cache(maxsize=16)  # the layers of a pass share their tables
def varlen_tables(segments: Segments, device: torch.device) -> VarlenTables:
    """The tables of segments on a device; they are copied there without waiting for it."""
    runs = [zip(run.lengths, run.prefixes, strict=True) for run in segments.runs for _ in range(run.clips)]
    counts = [counts for run in runs for counts in run]
    queries, keys = torch.tensor(counts).unbind(1)
    ends = keys.cumsum(0)
    first = [start for start, row in zip(segments.keys.starts, segments.queries.lengths, strict=False) for _ in row]
    shift = torch.tensor(first) - (ends - keys)
    tables = (
        F.pad(queries.cumsum(0), (1, 0)).int(),
        F.pad(ends, (1, 0)).int(),
        torch.arange(int(ends[-1])) + shift.repeat_interleave(keys),
    )
    moved = [on_device(table, device) for table in tables]
    return VarlenTables(moved[0], moved[1], moved[2], int(queries.max()), int(keys.max()))


def _attend_varlen(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    """One kernel for all segments: queries as they lie, keys and values gathered into each segment's prefix."""
    tables = varlen_tables(segments, q.device)
    k, v = k.index_select(0, tables.gathered), v.index_select(0, tables.gathered)
    return _varlen_kernel(q, k, v, tables)


@lru_cache(maxsize=1)
def torch_varlen() -> Callable[..., Any]:
    """torch's kernel, imported on first use: half of torch's compiler comes along, which takes a second."""
    from torch.nn.attention.varlen import varlen_attn

    # With one split a segment's result does not depend on its neighbours. Older versions have no such argument.
    return partial(varlen_attn, num_splits=1) if "num_splits" in signature(varlen_attn).parameters else varlen_attn


def _varlen_kernel(q: Tensor, k: Tensor, v: Tensor, tables: VarlenTables) -> Tensor:
    """Attention within sequences; without further arguments none of torch's versions masks anything."""
    longest = tables.most_queries, tables.most_keys
    attended = torch_varlen()(q, k, v, tables.queries, tables.keys, *longest)
    return cast(Tensor, attended)


def _attend_slices(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    """Exact slices, one call for all segments of equal shape: no mask and no padding."""
    # The fused CPU kernel's backward pass is three to four times slower than matrix products in bfloat16. Products
    # copy what is not contiguous: done once, before the prefixes are cut.
    products = q.requires_grad and q.device.type == "cpu" and q.dtype is torch.bfloat16
    attention = _by_products if products else F.scaled_dot_product_attention
    queries = [_by_head(q[run.queries], run, products).split(run.lengths, 2) for run in segments.runs]
    keys = [_Prefixes.apply(_by_head(k[run.keys], run, products), *run.prefixes) for run in segments.runs]
    values = [_Prefixes.apply(_by_head(v[run.keys], run, products), *run.prefixes) for run in segments.runs]
    attended = [list(run_queries) for run_queries in queries]
    for stack in segments.stacks:
        q, k, v = (_joined([pieces[run][block] for run, block in stack]) for pieces in (queries, keys, values))
        parts = attention(q, k, v)
        split = parts.split([segments.runs[run].clips for run, _ in stack])
        for (run, block), part in zip(stack, split, strict=True):
            attended[run][block] = part.transpose(1, 2)
    return _joined([_joined(parts, 1).flatten(0, 1) for parts in attended])


def _by_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Plain attention over `(clips, heads, length, dim)`."""
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1) @ v


class _Prefixes(torch.autograd.Function):
    """Views of growing prefixes of `(clips, heads, length, dim)`; the last one is everything.

    Their gradients are added up in one buffer, not in one of full length for each.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, *lengths: int) -> tuple[Tensor, ...]:
        ctx.lengths = lengths
        return tuple(values[:, :, :length] for length in lengths)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        total = gradients[-1].clone()
        for length, gradient in zip(ctx.lengths[:-1], gradients[:-1], strict=True):
            total[:, :, :length] += gradient
        return total, *(None for _ in ctx.lengths)


def _by_head(values: Tensor, run: SegmentRun, contiguous: bool) -> Tensor:
    """A run's elements `(N, heads, dim)` as `(clips, heads, length, dim)`."""
    view = values.unflatten(0, (run.clips, -1)).transpose(1, 2)
    return view.contiguous() if contiguous else view


def _joined(views: Sequence[Tensor], axis: int = 0) -> Tensor:
    return views[0] if len(views) == 1 else torch.cat(tuple(views), axis)
