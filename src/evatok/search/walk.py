"""The walk over all prefixes of assignments: what each block of a clip costs in quality under each.

Block `t` of a reconstruction depends on the lengths of blocks up to `t` alone. So the walk goes depth first through
the tree of prefixes and computes every block once for every prefix: 780 blocks for five levels and four blocks, where
625 assignments one by one take 2500. It hands down the keys and values of earlier blocks, and takes all clips of a
batch along that want a prefix: every call has one shape, and memory grows with the depth of the tree alone.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evatok.assignment import Assignment
from evatok.nn.packed import Layout
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.measuring import Original
from evatok.tokenizer.network import Memory, TokenizerNetwork, pick_memory
from evatok.video.fit import to_signed

# The prefixes under which each clip is measured; None: all.
Wanted = Sequence[Collection[Assignment] | None]


@dataclass(frozen=True)
class BlockValues:
    """Errors of each block of clips under each prefix, `(clips, prefixes)` float32, numbered as `AssignmentSpace` does.

    Args:
        mse: mean squared error of the block's pixels on the scale 0 to 255.
        lpips: mean LPIPS of the block's frames.
    """

    mse: Tensor
    lpips: Tensor


@torch.no_grad()
def search_clips(
    network: TokenizerNetwork, clips: Tensor, lpips: LPIPS, half: bool = False, wanted: Wanted | None = None
) -> BlockValues:
    """Every block of clips of 1 to `T` blocks under every prefix, or under some.

    Args:
        network: the tokenizer, in evaluation mode.
        clips: uint8 `(B, F, 3, H, W)` of whole blocks, on the tokenizer's device.
        lpips: the metric, on the same device.
        half: decodes and measures in bfloat16, about twice as fast; tokens come from float32 all the same.
        wanted: of each clip, the prefixes that are measured, and what they begin with; None: all. What is not measured
            is NaN.

    Raises:
        ValueError: `wanted` is of another number of clips.
    """
    if wanted is not None and len(wanted) != len(clips):
        raise ValueError(f"wanted must be given for each of the {len(clips)} clips, got {len(wanted)}")
    with torch.autocast(clips.device.type, torch.bfloat16, enabled=half):
        originals = [Original.of(block, lpips) for block in to_signed(clips).split(network.config.block_frames, 1)]
        space = network.config.space
        shape = len(clips), space.prefix_starts[len(originals)]
        mse = torch.full(shape, torch.nan, device=clips.device)
        values = BlockValues(mse, mse.clone())
        wishes = [_with_beginnings(prefixes) for prefixes in wanted or [None] * len(clips)]
        start = _Reached(list(range(len(clips))), None, None)
        for prefix, rows, original, decoded in _walk(network, originals, start, (), wishes):
            place = space.prefix(prefix)
            values.mse[rows, place], values.lpips[rows, place] = original.errors(decoded, lpips)
    return values


@dataclass(frozen=True)
class _Reached:
    """Clips that have come to a prefix: their rows in the batch, and what encoder and decoder have seen of them."""

    rows: list[int]
    encoded: Memory | None
    decoded: Memory | None

    def some(self, places: list[int]) -> "_Reached":
        """Those at some places, in order."""
        if len(places) == len(self.rows):
            return self
        picked = [(0, place) for place in places]
        memories = [memory and pick_memory([memory], picked) for memory in (self.encoded, self.decoded)]
        return _Reached([self.rows[place] for place in places], *memories)


def _walk(
    network: TokenizerNetwork, originals: list[Original], reached: _Reached, prefix: Assignment, wanted: Wanted
) -> Iterator[tuple[Assignment, list[int], Original, Tensor]]:
    """Every prefix that continues `prefix`: clips that want it, their block and how it is decoded."""
    number = len(prefix)
    here, block = reached, originals[number].repeated(reached.rows)
    for level in network.config.levels:
        longer = (*prefix, level)
        places = [place for place, row in enumerate(reached.rows) if _wants(wanted[row], longer)]
        if not places:
            continue
        if (some := reached.some(places)).rows != here.rows:
            here, block = some, originals[number].repeated(some.rows)
        layout = Layout.of([[level]] * len(places), number)
        size = (block.signed.shape[-2], block.signed.shape[-1])
        with torch.autocast(block.signed.device.type, enabled=False):
            ids, encoded = network.encode_blocks(block.signed, layout, here.encoded)
        frames, decoded = network.decode_blocks(ids, layout, size, here.decoded)
        yield longer, here.rows, block, frames
        if len(longer) < len(originals):
            yield from _walk(network, originals, _Reached(here.rows, encoded, decoded), longer, wanted)


def _wants(prefixes: Collection[Assignment] | None, prefix: Assignment) -> bool:
    return prefixes is None or prefix in prefixes


def _with_beginnings(prefixes: Collection[Assignment] | None) -> Collection[Assignment] | None:
    if prefixes is None:
        return None
    return frozenset(prefix[:blocks] for prefix in prefixes for blocks in range(1, len(prefix) + 1))
