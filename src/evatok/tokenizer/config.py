"""The configuration of a tokenizer and its presets."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from torch import Tensor

from evatok.assignment import MOST_TOKENS, AssignmentSpace
from evatok.nn.patches import MOST_SIDE, check_patch
from evatok.nn.transformer import TransformerConfig
from evatok.utils.configs import check_between, check_least

KindT = TypeVar("KindT", int, Tensor)


@dataclass(frozen=True)
class QuantizerConfig:
    """Vector quantization of each 1D token (paper, section 3).

    Args:
        codebook_size: number of codes, 2 to 2^20.
        dim: channels of a code, 1 to 1024.
        commitment: weight of the loss that pulls features to their codes.
        entropy: weight of the entropy loss (the MAGVIT-v2 form: low for a token, high for the batch's mean).
        temperature: softness of the assignment to codes within the entropy loss, in squared distances.
        unit: whether codes and features are l2-normalised, as in the paper. Without it their size says something too,
            which a linear sketch needs; its features are of size about 1.
    """

    # As files of saved models may still call them (`evatok.utils.configs`).
    OLD_NAMES: ClassVar[dict[str, str]] = {"codes": "codebook_size"}

    codebook_size: int = 1024
    dim: int = 8
    commitment: float = 0.25
    entropy: float = 0.02
    temperature: float = 0.07
    unit: bool = True

    def __post_init__(self) -> None:
        check_between(self, 2, 2**20, "codebook_size")
        check_between(self, 1, 1024, "dim")
        check_least(self, 0, "commitment", "entropy")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")


@dataclass(frozen=True)
class FSQConfig:
    """Finite scalar quantization (Mentzer et al. 2023, arXiv 2309.15505): no codebook, so nothing to learn or collapse.

    Args:
        fsq: number of values of each channel, at least 3; their product is the number of codes, at most 2^31.
    """

    fsq: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fsq", tuple(self.fsq))
        if not self.fsq or min(self.fsq) < 3:
            raise ValueError(f"fsq must be one or more numbers of at least 3, got {self.fsq}")
        if len(self.fsq) > 32 or self.codebook_size > 2**31:
            raise ValueError(f"fsq must be at most 2^31 codes, got {len(self.fsq)} channels of up to {max(self.fsq)}")

    @property
    def codebook_size(self) -> int:
        """Number of codes."""
        return math.prod(self.fsq)

    @property
    def dim(self) -> int:
        """Channels of a code."""
        return len(self.fsq)


@dataclass(frozen=True)
class SketchConfig:
    """A picture that the codes draw by linear maps alone, and that the decoder's network refines (ours).

    A token stands for the pixels of its own cell, brought to the size of a patch: half a patch where cells are finer,
    many patches where they are coarser. Its code holds the first components of what the sketch lacks there.

    Args:
        carry: whether a block's sketch begins with the last frame of the sketch of the block before, so that its tokens
            say what has changed and mend what was missing, as in a video codec; else each block begins with grey.
        passes: shares of a block's tokens in passes over it, each over a grid of its own and coding what those before
            it lack: with `(1, 1, 2)` 64 tokens are 16, 16 and 32. Where a pass would have fewer than four cells, or
            the shares do not divide the tokens, there is one pass.
        own_codebooks: whether blocks that begin a clip, later ones, and each pass have codes of their own under the
            same ids, as many as `codebook_size` each; else all share them.
    """

    carry: bool = True
    passes: tuple[int, ...] = (1,)
    own_codebooks: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "passes", tuple(self.passes))
        if not self.passes or min(self.passes) < 1:
            raise ValueError(f"passes must be one or more positive shares, got {self.passes}")
        if len(self.passes) > 16 or sum(self.passes) > MOST_TOKENS:
            raise ValueError(f"passes must be at most 16, of up to {MOST_TOKENS} shares, got {self.passes}")

    @property
    def kinds(self) -> int:
        """How many sets of linear maps there are: one for each pass over a first block, and over a later one."""
        return (1 + self.carry) * len(self.passes)

    def kind(self, block: KindT, number: KindT) -> KindT:
        """Which of them pass `number` over block `block` of a clip takes: integers, or int64 tensors of one shape."""
        return number + len(self.passes) * (self.carry * (block > 0))


@dataclass(frozen=True)
class TokenizerConfig:
    """What a tokenizer is made of.

    Args:
        levels: possible numbers of tokens of a block.
        blocks: blocks of a full clip.
        patch: frames, height and width of a patch in pixels; a block has `patch[0]` frames.
        side: side in pixels of the square that positions take as their unit: the trained area is `side ** 2`.
        encoder: size of the encoder.
        decoder: size of the decoder.
        quantizer: the quantizer: a learned codebook, or finite scalar quantization.
        default_assignment: tokens of each block where a caller asks for nothing else.
        sketch: codes draw a linear picture first; None is the paper's form, where queries of the encoder are pooled
            features of patches and those of the decoder start from the first token of their block.
        overlap: pixels by which a patch of the decoder reaches over its sides (ours): it sees that much more of the
            sketch, and draws that far into its neighbours, so that borders are drawn from both sides. 0: each draws its
            own pixels alone, as in the paper.
        ids_of: checksum of the tokenizer whose encoder and quantizer these are, where the decoder alone was trained on:
            all that have them give the same ids, and decode each other's tokens. None: its own.
    """

    levels: tuple[int, ...] = (8, 16, 32, 64, 128)
    blocks: int = 4
    patch: tuple[int, int, int] = (4, 8, 8)
    side: int = 64
    encoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(256, 3, 4))
    decoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(256, 4, 4))
    quantizer: QuantizerConfig | FSQConfig = field(default_factory=QuantizerConfig)
    default_assignment: tuple[int, ...] = (64, 32, 32, 32)
    sketch: SketchConfig | None = None
    overlap: int = 0
    ids_of: str | None = None

    def __post_init__(self) -> None:
        for name in ("levels", "patch", "default_assignment"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_patch(self.patch)
        check_between(self, 1, MOST_SIDE, "side")
        check_between(self, 0, min(self.patch[1:]) // 2, "overlap")
        if self.default_assignment not in AssignmentSpace.of_model(self.levels, self.blocks):
            raise ValueError(
                f"default_assignment must be {self.blocks} of the levels {self.levels}, got {self.default_assignment}"
            )

    @property
    def codebooks(self) -> int:
        """Number of codebooks, which have the same ids."""
        own = self.sketch is not None and self.sketch.own_codebooks and isinstance(self.quantizer, QuantizerConfig)
        return self.sketch.kinds if own and self.sketch is not None else 1

    def book(self, kind: KindT) -> KindT:
        """Which of them passes of a kind are coded by."""
        return kind if self.codebooks > 1 else kind * 0

    @property
    def codes(self) -> int:
        """Number of codes of all codebooks."""
        return self.codebooks * self.quantizer.codebook_size

    @property
    def space(self) -> AssignmentSpace:
        """The assignments of a full clip."""
        return AssignmentSpace(self.levels, self.blocks)

    @property
    def block_frames(self) -> int:
        """Frames of a block."""
        return self.patch[0]

    @property
    def clip_frames(self) -> int:
        """Frames of a full clip."""
        return self.blocks * self.patch[0]


PAPER_LEVELS = (32, 64, 128, 256, 512)

PRESETS: dict[str, TokenizerConfig] = {
    "tiny": TokenizerConfig(
        encoder=TransformerConfig(width=128, depth=1, heads=4),
        decoder=TransformerConfig(width=128, depth=4, heads=4),
        quantizer=QuantizerConfig(dim=16, unit=False),
        sketch=SketchConfig(passes=(1, 1, 2), own_codebooks=True),
    ),
    "mini": TokenizerConfig(
        encoder=TransformerConfig(width=192, depth=2, heads=3),
        decoder=TransformerConfig(width=192, depth=6, heads=3),
        quantizer=QuantizerConfig(dim=16, unit=False),
        sketch=SketchConfig(passes=(1, 1, 2), own_codebooks=True),
    ),
    "small": TokenizerConfig(
        levels=PAPER_LEVELS,
        side=128,
        encoder=TransformerConfig(width=320, depth=3, heads=5),
        decoder=TransformerConfig(width=320, depth=4, heads=5),
        quantizer=QuantizerConfig(codebook_size=8192),
        default_assignment=(256, 128, 128, 128),
    ),
    # The S-B of the paper, which has 145M weights. These are 140.2M: 138.5M in the layers, 1.1M between pixels, tokens
    # and codes, 0.5M in the encoder's slopes, 0.1M for positions. What its others are the paper does not say. A guess:
    # learned positions, one for each of 1,024 patches and 2,048 tokens in encoder and decoder, would be 3.9M (ours are
    # functions of coordinates), and biases, which these layers lack, 0.2M.
    "base": TokenizerConfig(
        levels=PAPER_LEVELS,
        side=128,
        encoder=TransformerConfig(width=512, depth=6, heads=8),
        decoder=TransformerConfig(width=768, depth=12, heads=12),
        quantizer=QuantizerConfig(codebook_size=16384),
        default_assignment=(256, 128, 128, 128),
    ),
}
