"""Operations of a tokenizer's pass, counted from its shapes: two for each multiplication with addition.

Counted are matrix products and attention; norms, activations, rotation and pooling are less than a hundredth of them,
resizing for a sketch is up to a quarter of encoding.
"""

from collections.abc import Sequence
from itertools import accumulate

from evatok.nn.transformer import TransformerConfig
from evatok.tokenizer.config import TokenizerConfig

Assignments = Sequence[Sequence[int]]


def forward_operations(config: TokenizerConfig, size: tuple[int, int], assignments: Assignments) -> int:
    """Encoding and decoding of clips with these assignments; `size` is a frame's height and width in pixels."""
    return encoding_operations(config, size, assignments) + decoding_operations(config, size, assignments)


def encoding_operations(config: TokenizerConfig, size: tuple[int, int], assignments: Assignments) -> int:
    """Frames to tokens."""
    cells, pixels = _patches(config, size)
    return sum(
        _stack(config.encoder, lengths, [cells] * len(lengths))
        + 2 * cells * len(lengths) * pixels * config.encoder.width
        + _sketch(config, lengths, pixels, reads=True)
        for lengths in assignments
    )


def decoding_operations(config: TokenizerConfig, size: tuple[int, int], assignments: Assignments) -> int:
    """Tokens to frames."""
    cells, pixels = _patches(config, size)
    return sum(
        _stack(config.decoder, [cells] * len(lengths), lengths)
        + 2 * cells * len(lengths) * pixels * config.decoder.width
        + _sketch(config, lengths, pixels, reads=False)
        + (0 if config.sketch is None else _look(config, cells * len(lengths), pixels))
        for lengths in assignments
    )


def training_operations(config: TokenizerConfig, size: tuple[int, int], assignments: Assignments) -> int:
    """Forward and backward passes without losses: a backward pass takes two products for each of the forward's."""
    return 3 * forward_operations(config, size, assignments)


def plain_operations(width: int, depth: int, elements: int, mlp_ratio: int = 4) -> int:
    """A plain transformer in which everything sees everything."""
    return depth * (2 * (4 + 2 * mlp_ratio) * width**2 * elements + 4 * width * elements**2)


def _patches(config: TokenizerConfig, size: tuple[int, int]) -> tuple[int, int]:
    """Patches of a block, and numbers of each."""
    frames, height, width = config.patch
    return (size[0] // height) * (size[1] // width), 3 * frames * height * width


def _sketch(config: TokenizerConfig, lengths: Sequence[int], pixels: int, reads: bool) -> int:
    """Codes to the pixels of their cells; where it reads, pixels to codes and to queries before."""
    if config.sketch is None:
        return 0
    channels = config.quantizer.dim + (config.quantizer.dim + config.encoder.width) * reads
    return 2 * sum(lengths) * pixels * channels


def _look(config: TokenizerConfig, patches: int, pixels: int) -> int:
    """The sketch's patches, with the frame before each block, to the decoder's queries."""
    return 2 * patches * (pixels + pixels // config.patch[0]) * config.decoder.width


def _stack(config: TransformerConfig, own: Sequence[int], reference: Sequence[int]) -> int:
    """Layers of self- and cross-attention; block `t` sees the blocks up to its own."""
    products = 2 * config.width**2 * ((6 + 2 * config.mlp_ratio) * sum(own) + 2 * sum(reference))
    seen = [a + b for a, b in zip(accumulate(own), accumulate(reference), strict=True)]
    attention = 4 * config.width * sum(n * m for n, m in zip(own, seen, strict=True))
    return config.depth * (products + attention)
