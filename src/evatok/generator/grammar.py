"""The language of a generator's sequences: `[class] ([length] codes ...) x blocks [end]` (paper, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from evatok.generator.vocabulary import Vocabulary


class SequenceError(ValueError):
    """A sequence that the grammar does not know.

    Args:
        position: of the first token that is wrong, or the sequence's length where one is missing.
        reason: what is wrong with it.
    """

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"token {position} of the sequence: {reason}")
        self.position, self.reason = position, reason


class Due(IntEnum):
    """What the next token of a sequence has to be."""

    CLASS = 0
    LENGTH = 1
    CODE = 2
    END = 3
    NOTHING = 4  # the sequence has ended; `[end]` may fill it up


_WORDS = {
    Due.CLASS: "a class token or the null class",
    Due.LENGTH: "a length token",
    Due.CODE: "a code",
    Due.END: "the end token",
}


class Parsed(NamedTuple):
    """What a sequence says.

    Args:
        label: number of its class; -1 for the null class.
        lengths: codes of each block.
        ids: the codes, int64.
    """

    label: int
    lengths: tuple[int, ...]
    ids: Tensor


@dataclass(frozen=True)
class SequenceGrammar:
    """Sequences of a class token, `blocks` blocks, each a length token and as many codes, and an end token.

    Args:
        vocabulary: what the tokens mean.
        blocks: blocks of a sequence, at least 1: those of a clip, or of some clips of one video.
    """

    vocabulary: Vocabulary
    blocks: int

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise ValueError(f"a sequence has at least 1 block, not {self.blocks}")

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return self.blocks * (1 + self.vocabulary.levels[-1]) + 2

    def build(self, label: str | int | None, lengths: Sequence[int], ids: Tensor) -> Tensor:
        """The sequence of a class, lengths of blocks and their codes: int64. ValueError where they do not fit."""
        if len(lengths) != self.blocks or sum(lengths) != len(ids):
            raise ValueError(
                f"a sequence has {self.blocks} blocks and the codes of each, got {len(lengths)} of together "
                f"{sum(lengths)} with {len(ids)} codes"
            )
        return torch.cat((self.prefix(label, lengths, ids), torch.tensor([self.vocabulary.end])))

    def prefix(self, label: str | int | None, lengths: Sequence[int], ids: Tensor) -> Tensor:
        """The beginning of a sequence: of the class and of the first blocks, as many as there are lengths."""
        words, vocabulary = [torch.tensor([self.vocabulary.label(label)])], self.vocabulary
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary.codebook_size:
            raise ValueError(f"codes lie in [{ids.min()}, {ids.max()}]; there are {vocabulary.codebook_size}")
        for length, codes in zip(lengths, ids.long().cpu().split(list(lengths)), strict=True):
            words += [torch.tensor([vocabulary.length(length)]), codes]
        return torch.cat(words)

    def parse(self, sequence: Tensor) -> Parsed:
        """The inverse of `build`; tokens after the end may only be further ends. Raises SequenceError."""
        tokens, vocabulary = sequence.tolist(), self.vocabulary
        lengths, ids, position = [], list[int](), 1
        self._check(tokens, 0, Due.CLASS)
        for _ in range(self.blocks):
            self._check(tokens, position, Due.LENGTH)
            lengths.append(vocabulary.levels[tokens[position] - vocabulary.first_length])
            for place in range(position + 1, position + 1 + lengths[-1]):
                self._check(tokens, place, Due.CODE)
            ids += tokens[position + 1 : position + 1 + lengths[-1]]
            position += 1 + lengths[-1]
        for place in range(position, max(len(tokens), position + 1)):
            self._check(tokens, place, Due.END)
        label = tokens[0] - vocabulary.first_class
        return Parsed(label if label < len(vocabulary.classes) else -1, tuple(lengths), torch.tensor(ids))

    def due(self, sequences: Tensor) -> Tensor:
        """What each of the beginnings `(n, L)` of sequences goes on with: `Due`, int64 `(n,)`, without a wait.

        The beginnings are taken to be right. They may be filled up at the left with any but length and class tokens.
        """
        vocabulary = self.vocabulary
        level = sequences - vocabulary.first_length
        is_length = (level >= 0) & (level < len(vocabulary.levels))
        is_class = (sequences >= vocabulary.first_class) & (sequences <= vocabulary.null)
        begun = is_length.sum(1)
        place = torch.arange(sequences.shape[1], device=sequences.device)
        last = torch.where(is_length, place, -1).amax(1)
        codes = torch.tensor(vocabulary.levels, device=sequences.device)
        announced = codes[level.gather(1, last.clamp(min=0)[:, None])[:, 0].clamp(0, len(codes) - 1)]
        open_ = (begun > 0) & (sequences.shape[1] - 1 - last < announced)
        after = torch.where(begun < self.blocks, int(Due.LENGTH), int(Due.END))
        after = torch.where(sequences[:, -1] == vocabulary.end, torch.where(begun > 0, int(Due.NOTHING), after), after)
        due = torch.where(open_, int(Due.CODE), after)
        return torch.where(is_class.any(1), due, int(Due.CLASS))

    @cached_property
    def admitted(self) -> tuple[range, ...]:
        """The tokens that each kind of `Due` admits."""
        vocabulary = self.vocabulary
        return (
            range(vocabulary.first_class, vocabulary.null + 1),
            range(vocabulary.first_length, vocabulary.first_class),
            range(vocabulary.codebook_size),
            range(vocabulary.end, vocabulary.end + 1),
            range(vocabulary.end, vocabulary.end + 1),
        )

    @cached_property
    def allowed(self) -> Tensor:
        """Which tokens each kind of `Due` admits: bool `(5, len(vocabulary))`."""
        token = torch.arange(len(self.vocabulary))
        return torch.stack([(token >= each.start) & (token < each.stop) for each in self.admitted])

    def _check(self, tokens: list[int], position: int, due: Due) -> None:
        """Raises SequenceError unless the token at a position is of the kind that is due there."""
        if position >= len(tokens):
            raise SequenceError(position, f"{_WORDS[due]} is missing")
        token = tokens[position]
        if token not in self.admitted[due]:
            raise SequenceError(position, f"{token} where {_WORDS[due]} is due")
