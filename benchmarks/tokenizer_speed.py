"""Encoding and decoding by a preset with random weights, against a fixed-length tokenizer's shape.

The plain one has 24 layers, 768 wide, over 2048 elements: 1024 patches and 1024 tokens through an encoder and a decoder
of 12 layers each, the shape of LARP (https://github.com/hywang66/LARP), whose length is fixed. It is given nothing
besides its layers: no patches, positions, quantizer or frames.

    python -m benchmarks.tokenizer_speed --out docs/results/tokenizer-speed.json
"""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.common import PRECISIONS, Row, in_turn, report, timing_arguments
from benchmarks.operations import forward_operations, plain_operations
from evatok.assignment import AssignmentSpace
from evatok.nn.packed import Layout
from evatok.tokenizer.config import PRESETS, TokenizerConfig
from evatok.tokenizer.model import VideoTokenizer


@dataclass(frozen=True)
class PlainConfig:
    """Size of the plain transformer."""

    width: int = 768
    depth: int = 24
    heads: int = 12
    elements: int = 2048


class PlainLayer(nn.Module):
    """Self-attention of everything to everything, and an MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_mlp(x)), approximate="tanh"))


def assignments_of(space: AssignmentSpace, clips: int, mean: int, generator: torch.Generator) -> Tensor:
    """Random assignments `(clips, blocks)` with, as nearly as the levels allow, `mean` tokens a clip over the batch."""
    unit = space.levels[0]
    total = round(clips * mean / unit) * unit
    for _ in range(100_000):
        lengths = space.sample(generator, clips)
        if lengths.sum() == total:
            return lengths
    raise ValueError(f"{clips} clips of {space} do not come to {total} tokens")


def measure(config: TokenizerConfig, plain: PlainConfig, clips: int, tokens: int, precision: str, repeats: int) -> Row:
    """Clips a second of both, and their ratio."""
    generator = torch.Generator().manual_seed(clips)
    lengths = assignments_of(config.space, clips, tokens, generator)
    layout, size = Layout.of(lengths.tolist()), (config.side, config.side)
    dtype = PRECISIONS[precision]
    ours = VideoTokenizer(config).to(dtype).eval()
    theirs = nn.Sequential(*(PlainLayer(plain.width, plain.heads) for _ in range(plain.depth))).to(dtype).eval()
    video = torch.rand(clips, config.clip_frames, 3, *size, generator=generator).to(dtype) * 2 - 1
    elements = torch.randn(clips, plain.elements, plain.width, generator=generator).to(dtype)

    def encode_and_decode() -> None:
        ids, _ = ours.encode_blocks(video, layout)
        ours.decode_blocks(ids, layout, size)

    with torch.inference_mode():
        seconds = in_turn({"evatok": encode_and_decode, "plain": partial(theirs, elements)}, repeats)
    operations = forward_operations(config, size, lengths.tolist())
    return {
        "precision": precision,
        "batch": clips,
        "threads": torch.get_num_threads(),
        "tokens a clip": int(lengths.sum()) / clips,
        "clips/s": clips / seconds["evatok"],
        "clips/s, plain": clips / seconds["plain"],
        "ratio": seconds["plain"] / seconds["evatok"],
        "ratio of operations": clips * plain_operations(plain.width, plain.depth, plain.elements) / operations,
    }


def main() -> None:
    """Measures every batch in every precision."""
    parser = timing_arguments(__doc__)
    parser.add_argument("--preset", choices=list(PRESETS), default="base")
    parser.add_argument("--tokens", type=int, default=774, help="of a clip, the mean over a batch")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--precisions", choices=list(PRECISIONS), nargs="+", default=list(PRECISIONS))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    rows = [
        measure(PRESETS[given.preset], PlainConfig(), clips, given.tokens, precision, given.repeats)
        for precision in given.precisions
        for clips in given.batches
    ]
    report(rows, given.out, preset=given.preset)


if __name__ == "__main__":
    main()
