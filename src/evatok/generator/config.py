"""What a generator is made of: tokens of one tokenizer, classes, and a Llama of some size."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evatok.generator.grammar import SequenceGrammar
from evatok.generator.vocabulary import Vocabulary
from evatok.tokens.records import TokenFormat, VideoRecord
from evatok.utils.configs import check_between, check_least

if TYPE_CHECKING:
    from transformers import LlamaConfig

# Hidden sizes of MLPs are two thirds of four times the width, up to the next multiple of this (LlamaGen).
MLP_MULTIPLE = 256


@dataclass(frozen=True)
class GeneratorSize:
    """How large the transformer is.

    Args:
        width: of the features, a multiple of `heads`.
        depth: layers.
        heads: of the attention.
    """

    width: int
    depth: int
    heads: int

    def __post_init__(self) -> None:
        check_between(self, 1, 2**16, "width", "heads")
        check_between(self, 1, 1000, "depth")
        if self.width % (2 * self.heads):
            raise ValueError(f"width must be an even multiple of heads, got {self.width} and {self.heads} heads")

    @property
    def hidden(self) -> int:
        """Width inside an MLP."""
        return -(-self.width * 8 // 3 // MLP_MULTIPLE) * MLP_MULTIPLE


# `gpt-b`, `gpt-l` and `gpt-l-plus` are the paper's GPT-B, GPT-L and GPT-L+ (sizes as LARP's code has them).
GENERATOR_PRESETS = {
    "gpt-tiny": GeneratorSize(256, 6, 4),
    "gpt-b": GeneratorSize(768, 12, 12),
    "gpt-l": GeneratorSize(1024, 24, 16),
    "gpt-l-plus": GeneratorSize(1280, 30, 20),
}


@dataclass(frozen=True)
class GeneratorConfig:
    """A generator of clips of one size, as tokens of one tokenizer.

    Args:
        size: of the transformer.
        tokens: the format of the tokens, which names the tokenizer.
        picture: height and width of the clips as the tokenizer sees them, in pixels.
        fps: frames per second of the clips.
        classes: names of the classes; empty where there are none.
        clips: consecutive clips of one video that a sequence has. A clip is seen by the clips after it in its
            sequence, and by nothing else, in training as in sampling.
    """

    size: GeneratorSize
    tokens: TokenFormat
    picture: tuple[int, int]
    fps: float
    classes: tuple[str, ...] = ()
    clips: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "picture", tuple(self.picture))
        object.__setattr__(self, "classes", tuple(self.classes))
        check_least(self, 1, "clips")
        # A sequence becomes a video, which says whether it can be one; the grammar, whether classes differ.
        VideoRecord(self.frames, self.fps, self.picture)
        _ = self.grammar

    @property
    def frames(self) -> int:
        """Frames of a sequence's video."""
        return self.clips * self.tokens.clip_blocks * self.tokens.block_frames

    @property
    def grammar(self) -> SequenceGrammar:
        """The language of its sequences."""
        return SequenceGrammar(Vocabulary.of(self.tokens, self.classes), self.clips * self.tokens.clip_blocks)

    def llama(self) -> "LlamaConfig":
        """The model as transformers knows it; embeddings in and out have weights of their own."""
        from transformers import LlamaConfig

        grammar = self.grammar
        return LlamaConfig(
            vocab_size=len(grammar.vocabulary),
            hidden_size=self.size.width,
            intermediate_size=self.size.hidden,
            num_hidden_layers=self.size.depth,
            num_attention_heads=self.size.heads,
            max_position_embeddings=grammar.longest,
            bos_token_id=None,
            eos_token_id=grammar.vocabulary.end,
            pad_token_id=grammar.vocabulary.end,
            tie_word_embeddings=False,
        )
