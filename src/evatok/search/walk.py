"""The walk over all prefixes of assignments: what each block of a clip costs in quality under each.

Block `t` of a reconstruction depends on the lengths of blocks up to `t` alone. So the walk goes depth first through
the tree of prefixes and computes every block once for every prefix: 780 blocks for five levels and four blocks, where
625 assignments one by one take 2500. It hands down the keys and values of earlier blocks, and takes all clips of a
batch along: every call has one shape, and memory grows with the depth of the tree alone.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from evatok.assignment import Assignment
from evatok.nn.packed import Layout
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.measuring import Original
from evatok.tokenizer.network import Memory, TokenizerNetwork


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
    network: TokenizerNetwork,
    clips: Tensor,
    lpips: LPIPS,
    half: bool = False,
    wanted: Collection[Assignment] | None = None,
) -> BlockValues:
    """Every block of clips of 1 to `T` blocks under every prefix, or under some.

    Args:
        network: the tokenizer, in evaluation mode.
        clips: uint8 `(B, F, 3, H, W)` of whole blocks, on the tokenizer's device.
        lpips: the metric, on the same device.
        half: decodes and measures in bfloat16, about twice as fast; tokens come from float32 all the same.
        wanted: prefixes that are measured, and what they begin with; None: all. What is not measured is NaN.
    """
    with torch.autocast(clips.device.type, torch.bfloat16, enabled=half):
        originals = [Original.of(block, lpips) for block in clips.split(network.config.block_frames, 1)]
        space = network.config.space
        shape = len(clips), space.prefix_starts[len(originals)]
        mse = torch.full(shape, torch.nan, device=clips.device)
        values = BlockValues(mse, mse.clone())
        for prefix, decoded in _walk(network, originals, (), None if wanted is None else _with_beginnings(wanted)):
            place = space.prefix(prefix)
            values.mse[:, place], values.lpips[:, place] = originals[len(prefix) - 1].errors(decoded, lpips)
    return values


def _walk(
    network: TokenizerNetwork,
    originals: list[Original],
    prefix: Assignment,
    wanted: Collection[Assignment] | None,
    encoded: Memory | None = None,
    decoded: Memory | None = None,
) -> Iterator[tuple[Assignment, Tensor]]:
    """Every prefix that continues `prefix`, with its last block decoded; what has been seen is handed down."""
    number = len(prefix)
    block = originals[number].signed
    size = (block.shape[-2], block.shape[-1])
    for level in network.config.levels:
        longer = (*prefix, level)
        if wanted is not None and longer not in wanted:
            continue
        layout = Layout.of([[level]] * len(block), number)
        with torch.autocast(block.device.type, enabled=False):
            ids, after_encoder = network.encode_blocks(block, layout, encoded)
        frames, after_decoder = network.decode_blocks(ids, layout, size, decoded)
        yield longer, frames
        if len(longer) < len(originals):
            yield from _walk(network, originals, longer, wanted, after_encoder, after_decoder)


def _with_beginnings(prefixes: Collection[Assignment]) -> frozenset[Assignment]:
    return frozenset(prefix[:blocks] for prefix in prefixes for blocks in range(1, len(prefix) + 1))
