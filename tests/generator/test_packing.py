"""Sequences of token sets, and their batches: everything once an epoch, nothing filled up, the same each time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evatok.generator.grammar import SequenceGrammar
from evatok.generator.packing import PackedBatch, PackedSequences, TokenSequences, held_out_batches
from evatok.generator.vocabulary import Vocabulary
from tests.generator.sets import CLASSES, FORM, made_up

VOCABULARY = Vocabulary.of(FORM, CLASSES)


def sequences_of(*counts: list[int], clips: int = 1, mirrored: bool = False) -> TokenSequences:
    """Of a set for each list of clips of videos."""
    sets = [made_up(each, seed, mirrored) for seed, each in enumerate(counts)]
    return TokenSequences(sets, SequenceGrammar(VOCABULARY, clips * FORM.clip_blocks))


def unpacked(batch: PackedBatch) -> list[list[int]]:
    """The sequences of a batch, of which its three rows say the same."""
    lengths = [n for (n,) in batch.layout.lengths]
    assert batch.tokens.shape == (3, sum(lengths)) and batch.tokens.dtype == torch.int64
    found = []
    for tokens, following, places in zip(*(row.split(lengths) for row in batch.tokens), strict=True):
        assert places.tolist() == list(range(len(tokens))) and torch.equal(tokens[1:], following[:-1])
        found.append([*tokens.tolist(), int(following[-1])])
    return found


def test_a_sequence_is_what_the_set_says_of_consecutive_clips_of_one_video() -> None:
    tokens = made_up([3, 1, 2, 5], mirrored=True)
    sequences = TokenSequences([tokens], SequenceGrammar(VOCABULARY, 2 * FORM.clip_blocks))
    # Of videos of 3, 1, 2 and 5 clips, twice each; a clip that is left over is in none.
    first = [0, 3, 8, 10, 12, 14, 17, 19]
    names = "video 0, clip 0", "video 0, clip 0, mirrored", "video 2, clip 0, mirrored", "video 3, clip 2, mirrored"
    assert tuple(sequences.name(n) for n in (0, 1, 3, 7)) == names
    assert len(sequences) == len(first) and sequences.clips == 2
    for number, row in enumerate(first):
        parsed = sequences.grammar.parse(sequences.sequence(number))
        assert parsed.label == tokens.labels[row]
        assert list(parsed.lengths) == tokens.lengths[row : row + 2].ravel().tolist()
        assert np.array_equal(parsed.ids, tokens.ids[tokens.starts[row] : tokens.starts[row + 2]])
        assert sequences.lengths[number] == len(sequences.sequence(number)) - 1
        assert sequences.grammar.parse(sequences.sequence(number, with_class=False)).label == -1


def test_a_gap_between_clips_is_in_no_sequence() -> None:
    tokens = replace(made_up([4]), clips=np.array([0, 2, 3, 4], np.int32))
    sequences = TokenSequences([tokens], SequenceGrammar(VOCABULARY, 2 * FORM.clip_blocks))
    assert [sequences.name(number) for number in range(len(sequences))] == ["video 0, clip 2"]
    with pytest.raises(ValueError, match="no video of the token sets has the 5 full clips of a sequence"):
        sequences_of([4, 4], clips=5)


@pytest.mark.parametrize("batch", [25, 60, 333, 10_000])
def test_an_epoch_has_every_sequence_once_and_nothing_else(batch: int) -> None:
    sequences = sequences_of([3, 1, 40], [7], mirrored=True)
    series = PackedSequences(sequences, batch, 0.0, seed=5)
    everything = sorted(sequences.sequence(number).tolist() for number in range(len(sequences)))
    assert len(everything) == 2 * 51
    orders = []
    for first in (0, 3 * series.epoch):
        batches = [series[number] for number in range(first, first + series.epoch)]
        orders.append([tokens for each in batches for tokens in unpacked(each)])
        assert sorted(orders[-1]) == everything
        assert len({key for each in batches for key in each.keys}) == sum(map(len, batches)) == len(everything)
        sizes = [each.layout.size for each in batches]
        assert min(sizes) > 0 and max(sizes) < series.tokens + max(sequences.lengths)
        assert sum(sizes) == sum(sequences.lengths) == pytest.approx(series.epoch * series.tokens)
    assert orders[0] != orders[1]
    if batch < 1000:
        assert batch <= series.tokens < 1.3 * batch


def test_an_item_depends_on_the_seed_and_its_number_alone() -> None:
    sequences = sequences_of([30])
    one, other = (PackedSequences(sequences, 60, 0.5, seed=1) for _ in range(2))
    forward = [one[number] for number in range(20)]
    for number in reversed(range(20)):
        assert torch.equal(other[number].tokens, forward[number].tokens) and other[number].keys == forward[number].keys
    assert PackedSequences(sequences, 60, 0.5, seed=2)[0].keys != forward[0].keys


def test_as_many_sequences_lose_their_class_as_is_asked() -> None:
    series = PackedSequences(sequences_of([100]), 200, 0.3, seed=0)
    first = torch.tensor([tokens[0] for n in range(20 * series.epoch) for tokens in unpacked(series[n])])
    assert len(first) == 2000 and set(first.tolist()) == {VOCABULARY.null, VOCABULARY.first_class}
    assert (first == VOCABULARY.null).double().mean().item() == pytest.approx(0.3, abs=0.04)


def test_videos_without_classes_have_the_null_class() -> None:
    words = Vocabulary.of(FORM)
    sequences = TokenSequences([made_up([3], classes=())], SequenceGrammar(words, FORM.clip_blocks))
    assert [sequences.sequence(number)[0] for number in range(3)] == [words.null] * 3


def test_sequences_of_equal_length_lie_together() -> None:
    lengths = [n for (n,) in PackedSequences(sequences_of([50]), 300, 0.0, seed=0)[0].layout.lengths]
    assert lengths == sorted(lengths) and len(set(lengths)) < len(lengths)


def test_a_batch_that_cannot_hold_a_sequence_is_refused() -> None:
    sequences = sequences_of([30])
    longest = int(max(sequences.lengths))
    with pytest.raises(ValueError, match=f"batch must be at least the {longest} tokens of the longest sequence, got 9"):
        PackedSequences(sequences, 9, 0.0, seed=0)
    assert PackedSequences(sequences, longest, 0.0, seed=0).epoch > 1


@pytest.mark.parametrize(("most", "expected"), [(3, [0, 20, 39]), (1, [0]), (40, None), (500, None)])
def test_held_out_batches_are_spread_evenly(most: int, expected: list[int] | None) -> None:
    sequences = sequences_of([40])
    found = [int(key.rpartition(" ")[2]) for each in held_out_batches(sequences, most, 50) for key in each.keys]
    assert sorted(found) == (list(range(40)) if expected is None else expected)
