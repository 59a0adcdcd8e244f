"""The walk over prefixes with a beam, for spaces too large to enumerate: its cost is linear in the number of blocks.

Block after block, each clip keeps the prefixes with the least LPIPS + price · tokens so far. A prefix that is dear now
and pays later may be lost; where the beam holds all prefixes nothing is, and the best assignment is found exactly.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from evatok.nn.packed import Layout
from evatok.pretrained.lpips import LPIPS
from evatok.search.walk import Original
from evatok.tokenizer.network import Memory, TokenizerNetwork, pick_memory


@dataclass(frozen=True)
class BeamValues:
    """The assignments that a beam has kept, best first, on the CPU.

    Args:
        lengths: tokens of each block, `(clips, kept, blocks)` int64.
        mse: mean squared error of the clip on the scale 0 to 255, `(clips, kept)` float32.
        lpips: mean LPIPS of the clip's frames, likewise.
    """

    lengths: Tensor
    mse: Tensor
    lpips: Tensor


@dataclass(frozen=True)
class _Prefix:
    """A prefix of one clip: tokens of its blocks, sums of their errors, and its cost so far."""

    clip: int
    lengths: tuple[int, ...]
    mse: float
    lpips: float
    cost: float


@torch.no_grad()
def beam_search(network: TokenizerNetwork, clips: Tensor, lpips: LPIPS, price: float, width: int) -> BeamValues:
    """The best assignments that a beam finds, by mean LPIPS + `price` · tokens.

    Args:
        network: the tokenizer, in evaluation mode.
        clips: uint8 `(B, F, 3, H, W)` of whole blocks, also more than the config's `blocks`, on the tokenizer's device.
        lpips: the metric, on the same device.
        price: of a token, in LPIPS of a clip (`ProxyReward.price`).
        width: prefixes that each clip keeps after each block, at least 1.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    blocks = clips.split(network.config.block_frames, 1)
    beam = [_Prefix(clip, (), 0.0, 0.0, 0.0) for clip in range(len(clips))]
    encoded: Memory | None = None
    decoded: Memory | None = None
    for number, block in enumerate(blocks):
        original = Original.of(block, lpips).repeated([prefix.clip for prefix in beam])
        grown: list[_Prefix] = []
        memories: list[tuple[Memory, Memory]] = []
        for level in network.config.levels:
            layout = Layout.of([[level]] * len(beam), number)
            mse, distance, memory = _extend(network, original, lpips, layout, encoded, decoded)
            memories.append(memory)
            for prefix, each_mse, each_lpips in zip(beam, mse, distance, strict=True):
                cost = prefix.cost + each_lpips / len(blocks) + price * level
                lengths = (*prefix.lengths, level)
                grown.append(_Prefix(prefix.clip, lengths, prefix.mse + each_mse, prefix.lpips + each_lpips, cost))
        kept = _kept(grown, len(clips), width)
        places = [divmod(place, len(beam)) for place in kept]
        beam = [grown[place] for place in kept]
        encoded, decoded = (pick_memory([memory[side] for memory in memories], places) for side in range(2))
    return _values(beam, len(clips), len(blocks))


def _extend(
    network: TokenizerNetwork,
    original: Original,
    lpips: LPIPS,
    layout: Layout,
    encoded: Memory | None,
    decoded: Memory | None,
) -> tuple[list[float], list[float], tuple[Memory, Memory]]:
    """Errors of the beam's next block at one level, and the memory after it."""
    ids, after_encoder = network.encode_blocks(original.signed, layout, encoded)
    size = (original.signed.shape[-2], original.signed.shape[-1])
    frames, after_decoder = network.decode_blocks(ids, layout, size, decoded)
    mse, distance = original.errors(frames, lpips)
    return mse.tolist(), distance.tolist(), (after_encoder, after_decoder)


def _kept(grown: list[_Prefix], clips: int, width: int) -> list[int]:
    """Places of each clip's cheapest prefixes; of equal ones the shorter, then the first of the enumeration."""
    by_clip: list[list[int]] = [[] for _ in range(clips)]
    for place, prefix in enumerate(grown):
        by_clip[prefix.clip].append(place)
    best = [
        sorted(places, key=lambda at: (grown[at].cost, sum(grown[at].lengths), grown[at].lengths))[:width]
        for places in by_clip
    ]
    return [place for places in best for place in places]


def _values(beam: list[_Prefix], clips: int, blocks: int) -> BeamValues:
    kept = len(beam) // clips
    return BeamValues(
        torch.tensor([prefix.lengths for prefix in beam]).view(clips, kept, blocks),
        torch.tensor([prefix.mse / blocks for prefix in beam]).view(clips, kept),
        torch.tensor([prefix.lpips / blocks for prefix in beam]).view(clips, kept),
    )
