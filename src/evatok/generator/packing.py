"""Sequences out of token sets, and batches in which they lie one after the other, without padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from evatok.generator.grammar import SequenceGrammar
from evatok.nn.packed import Layout
from evatok.tokens.token_set import TokenSet

Numbers = npt.NDArray[np.int64]


class TokenSequences:
    """The sequences of token sets: consecutive clips of one video, as many as a sequence has.

    A video gives as many as it has room for, one after the other from its first clip on; the clips left over at its
    end are in none. A mirrored copy is a video of its own.

    Args:
        sets: the clips.
        grammar: the language of the sequences.

    Raises:
        ValueError: there is no sequence.
    """

    def __init__(self, sets: Sequence[TokenSet], grammar: SequenceGrammar) -> None:
        self._sets, self.grammar = sets, grammar
        self.clips = grammar.blocks // sets[0].format.clip_blocks
        firsts = [_firsts(each, self.clips) for each in sets]
        self._set = np.repeat(np.arange(len(sets)), [*map(len, firsts)])
        self._first = np.concatenate(firsts)
        if not len(self):
            raise ValueError(f"no video of the token sets has the {self.clips} full clips of a sequence")
        codes = [each.starts[first + self.clips] - each.starts[first] for each, first in zip(sets, firsts, strict=True)]
        # How many tokens each has that another one follows.
        self.lengths: Numbers = np.concatenate(codes).astype(np.int64) + grammar.blocks + 1

    def __len__(self) -> int:
        return len(self._first)

    def sequence(self, number: int, with_class: bool = True) -> Tensor:
        """One of them, int64; without its class it has the null class."""
        tokens, first = self._sets[self._set[number]], int(self._first[number])
        ids = torch.from_numpy(tokens.ids[tokens.starts[first] : tokens.starts[first + self.clips]])
        label = int(tokens.labels[first]) if with_class else -1
        return self.grammar.build(label, tokens.lengths[first : first + self.clips].ravel().tolist(), ids)

    def name(self, number: int) -> str:
        """Which one that is."""
        tokens, first = self._sets[self._set[number]], int(self._first[number])
        copy = ", mirrored" if tokens.mirrored[first] else ""
        where = f"set {self._set[number]}, " if len(self._sets) > 1 else ""
        return f"{where}video {tokens.videos[first]}, clip {tokens.clips[first]}{copy}"


def _firsts(tokens: TokenSet, clips: int) -> Numbers:
    """The first clip of each sequence."""
    rows = np.arange(len(tokens))
    # A clip that does not follow the one before it begins a row of clips.
    follows = (np.diff(tokens.videos) == 0) & (np.diff(tokens.mirrored) == 0) & (np.diff(tokens.clips) == 1)
    begins = np.flatnonzero(np.concatenate(([True], ~follows))[: len(rows)])
    sizes = np.diff(np.append(begins, len(rows)))
    place = rows - np.repeat(begins, sizes)
    return rows[(place % clips == 0) & (place + clips <= np.repeat(sizes, sizes))]


@dataclass(frozen=True)
class PackedBatch:
    """Sequences one after the other: all tokens that another one follows.

    Args:
        tokens: int64 `(3, N)`: the tokens, those that follow them, and the places of the former in their sequences.
        layout: how many of them each sequence has, as a clip of one block.
        keys: names of the sequences.
        clips: of all of them.
    """

    tokens: Tensor
    layout: Layout
    keys: list[str]
    clips: int

    def __len__(self) -> int:
        return self.clips

    @classmethod
    def of(cls, sequences: TokenSequences, numbers: Numbers, with_class: npt.NDArray[np.bool_]) -> "PackedBatch":
        """Some of the sequences, those of equal length beside each other, with their classes or without."""
        order = np.argsort(sequences.lengths[numbers], kind="stable")
        built = [sequences.sequence(int(numbers[each]), bool(with_class[each])) for each in order]
        return cls(
            torch.cat([torch.stack((each[:-1], each[1:], torch.arange(len(each) - 1))) for each in built], 1),
            Layout(tuple((len(each) - 1,) for each in built)),
            [sequences.name(int(numbers[each])) for each in order],
            len(built) * sequences.clips,
        )


def packs_of(sequences: TokenSequences, order: Numbers, batch: int) -> list[Numbers]:
    """Sequences in an order, cut into batches of nearly equal numbers of tokens, about `batch` each.

    Where the cuts lie depends on the order, how many there are does not. No batch is empty, or has more tokens than
    its share of all and one sequence.

    Raises:
        ValueError: a sequence has more than `batch` tokens.
    """
    lengths = sequences.lengths[order]
    if lengths.max() > batch:
        raise ValueError(f"batch must be at least the {lengths.max()} tokens of the longest sequence, got {batch}")
    starts = lengths.cumsum() - lengths
    count = max(1, int(lengths.sum()) // batch)
    cuts = np.searchsorted(starts * count // lengths.sum(), np.arange(1, count))
    return np.split(order, cuts)


class PackedSequences(Dataset[PackedBatch]):
    """An endless series of batches of sequences: item `i` is a function of the seed and `i` alone.

    Each epoch is a permutation, in which every sequence comes once, cut by `packs_of`.

    Args:
        sequences: to train on.
        batch: tokens of a batch, on average.
        class_dropout: probability that a sequence comes without its class.
        seed: of everything random.

    Raises:
        ValueError: a sequence has more than `batch` tokens.
    """

    def __init__(self, sequences: TokenSequences, batch: int, class_dropout: float, seed: int) -> None:
        self._sequences, self._batch, self._class_dropout, self._seed = sequences, batch, class_dropout, seed
        self._packs = -1, list[Numbers]()
        self.epoch = len(self._of_epoch(0))  # batches of an epoch
        self.tokens = int(sequences.lengths.sum()) / self.epoch  # of a batch, on average

    def __getitem__(self, index: int) -> PackedBatch:
        epoch, place = divmod(index, self.epoch)
        numbers = self._of_epoch(epoch)[place]
        kept = np.random.default_rng([self._seed, 1, index]).random(len(numbers)) >= self._class_dropout
        return PackedBatch.of(self._sequences, numbers, kept)

    def _of_epoch(self, epoch: int) -> list[Numbers]:
        if self._packs[0] != epoch:
            order = np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._sequences))
            self._packs = epoch, packs_of(self._sequences, order, self._batch)
        return self._packs[1]


def held_out_batches(sequences: TokenSequences, most: int, batch: int) -> Iterator[PackedBatch]:
    """At most so many sequences, spread evenly over all, in batches of about `batch` tokens; always the same."""
    numbers = np.unique(np.linspace(0, len(sequences) - 1, min(most, len(sequences))).round().astype(np.int64))
    for pack in packs_of(sequences, numbers, max(batch, int(sequences.lengths.max()))):
        yield PackedBatch.of(sequences, pack, np.ones(len(pack), bool))
