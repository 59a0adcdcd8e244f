"""What a generator's sequences may be, and what is said of those that they may not be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evatok.generator.grammar import Due, SequenceError, SequenceGrammar
from evatok.generator.vocabulary import Vocabulary

WORDS = Vocabulary(10, (1, 2, 4), ("pong", "boxing"))  # codes 0–9, lengths 10–12, classes 13–14, null 15, end 16
GRAMMAR = SequenceGrammar(WORDS, 3)


@st.composite
def sequences(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    lengths = draw(st.lists(st.sampled_from(WORDS.levels), min_size=3, max_size=3))
    codes = draw(st.lists(st.integers(0, 9), min_size=sum(lengths), max_size=sum(lengths)))
    return draw(st.sampled_from([0, 1, -1])), lengths, codes


def test_a_sequence_in_tokens() -> None:
    sequence = GRAMMAR.build("boxing", (2, 1, 4), torch.arange(7))
    assert sequence.tolist() == [14, 11, 0, 1, 10, 2, 12, 3, 4, 5, 6, 16]
    assert GRAMMAR.build(None, (1, 1, 1), torch.zeros(3)).tolist() == [15, 10, 0, 10, 0, 10, 0, 16]
    assert GRAMMAR.longest == 3 * 5 + 2 and len(WORDS) == 17
    assert GRAMMAR.prefix(0, (2,), torch.tensor([5, 6])).tolist() == [13, 11, 5, 6]


@given(sequences(), st.integers(0, 3))
def test_parsing_undoes_building(sequence: tuple[int, list[int], list[int]], ends: int) -> None:
    label, lengths, codes = sequence
    built = GRAMMAR.build(label, lengths, torch.tensor(codes))
    parsed = GRAMMAR.parse(torch.cat((built, torch.full((ends,), 16))))
    assert parsed.label == label and list(parsed.lengths) == lengths and parsed.ids.tolist() == codes


def wrong_at(sequence: list[int]) -> int | None:
    """Where a sequence is wrong first, by a reading of its own."""
    if not sequence or sequence[0] not in (13, 14, 15):
        return 0
    place = 1
    for _ in range(3):
        if place >= len(sequence) or sequence[place] not in (10, 11, 12):
            return place
        codes = WORDS.levels[sequence[place] - 10]
        for _ in range(codes):
            place += 1
            if place >= len(sequence) or not 0 <= sequence[place] < 10:
                return place
        place += 1
    if place >= len(sequence):
        return place
    return next((at for at in range(place, len(sequence)) if sequence[at] != 16), None)


@settings(max_examples=200)
@given(sequences(), st.data())
def test_a_wrong_token_is_told_with_its_place(sequence: tuple[int, list[int], list[int]], data: st.DataObject) -> None:
    tokens = GRAMMAR.build(sequence[0], sequence[1], torch.tensor(sequence[2])).tolist()
    place = data.draw(st.integers(0, len(tokens) - 1))
    kind = data.draw(st.sampled_from(["change", "drop", "add", "cut"]))
    token = data.draw(st.integers(-1, 17))
    changed = {
        "change": [*tokens[:place], token, *tokens[place + 1 :]],
        "drop": [*tokens[:place], *tokens[place + 1 :]],
        "add": [*tokens[:place], token, *tokens[place:]],
        "cut": tokens[:place],
    }[kind]
    expected = wrong_at(changed)
    if expected is None:
        GRAMMAR.parse(torch.tensor(changed, dtype=torch.int64))
        return
    with pytest.raises(SequenceError, match=f"^token {expected} of the sequence: ") as caught:
        GRAMMAR.parse(torch.tensor(changed, dtype=torch.int64))
    assert caught.value.position == expected
    said = "is missing" if expected >= len(changed) else f"{changed[expected]} where"
    assert said in caught.value.reason


@pytest.mark.parametrize("filled", [0, 2])
@given(sequences())
def test_what_is_due_is_what_comes(filled: int, sequence: tuple[int, list[int], list[int]]) -> None:
    label, lengths, codes = sequence
    tokens = GRAMMAR.build(label, lengths, torch.tensor(codes))
    expected = [Due.LENGTH]
    for length in lengths:
        expected += [Due.CODE] * length + [Due.LENGTH]
    expected[-1] = Due.END
    for place, due in enumerate([*expected, Due.NOTHING], 1):
        begun = torch.cat((torch.full((filled,), 16), tokens[:place]))[None]
        assert int(GRAMMAR.due(begun)) == due
        if place < len(tokens):
            assert GRAMMAR.allowed[due, tokens[place]]


def test_rows_are_told_apart() -> None:
    rows = torch.tensor([[16, 16, 16, 16], [16, 16, 16, 13], [13, 11, 1, 2], [13, 12, 1, 2], [15, 10, 9, 11]])
    assert GRAMMAR.due(rows).tolist() == [Due.CLASS, Due.LENGTH, Due.LENGTH, Due.CODE, Due.CODE]


@pytest.mark.parametrize(
    ("label", "lengths", "ids", "said"),
    [
        ("chess", (1, 1, 1), torch.zeros(3), "class 'chess' is none of the 2: pong, boxing"),
        (2, (1, 1, 1), torch.zeros(3), "class 2 is none of the 2"),
        (-2, (1, 1, 1), torch.zeros(3), "class -2 is none"),
        (0.5, (1, 1, 1), torch.zeros(3), "class 0.5 is none"),
        (0, (1, 3, 1), torch.zeros(5), r"3 tokens has no length token; levels are \(1, 2, 4\)"),
        (0, (1, 1), torch.zeros(2), "a sequence has 3 blocks .* got 2"),
        (0, (1, 1, 1), torch.zeros(4), "of together 3 with 4 codes"),
        (0, (1, 1, 1), torch.tensor([0, 10, 0]), r"codes lie in \[0, 10\]; there are 10"),
        (0, (1, 1, 1), torch.tensor([0, -1, 0]), r"codes lie in \[-1, 0\]"),
    ],
)
def test_what_is_no_sequence_is_not_built(label: str | int, lengths: tuple[int, ...], ids: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GRAMMAR.build(label, lengths, ids)


def test_classes_differ() -> None:
    with pytest.raises(ValueError, match="classes differ in name; pong came more than once"):
        Vocabulary(10, (1, 2), ("pong", "boxing", "pong"))
