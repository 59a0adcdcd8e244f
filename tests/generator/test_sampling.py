"""Sampling: what is drawn is a sequence whatever the model says, and a sample does not depend on its neighbours."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlamaForCausalLM

from evatok.generator.cached import CachedLlama, CompiledLlama
from evatok.generator.drawing import Drawing
from evatok.generator.grammar import SequenceGrammar
from evatok.generator.model import VideoGenerator
from evatok.generator.sampling import Request, Sampler
from evatok.generator.vocabulary import Vocabulary

GRAMMAR = SequenceGrammar(Vocabulary(5, (1, 2, 3), ("pong", "boxing")), 4)


class RandomReader:
    """Logits that mean nothing, some of them no numbers at all."""

    def __init__(self, seed: int, scale: float) -> None:
        self.generator, self.scale = torch.Generator().manual_seed(seed), scale

    def read(self, tokens: Tensor, places: Tensor, first: int, width: int) -> Tensor:
        assert 0 <= int(places.min()) <= int(places.max()) < width <= GRAMMAR.longest
        logits = self.scale * torch.randn(len(tokens), len(GRAMMAR.vocabulary), generator=self.generator)
        odd = torch.rand(logits.shape, generator=self.generator)
        return logits.masked_fill(odd < 0.02, torch.inf).masked_fill(odd > 0.98, torch.nan)

    def move(self, source: int, target: int, count: int) -> None:
        pass


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 6),
    guidance=st.sampled_from([1.0, 0.0, 2.5, 1e30]),
    temperature=st.sampled_from([0.0, 1e-30, 0.5, 1.0, 1e30]),
    top_k=st.integers(0, 20),
    top_p=st.sampled_from([1.0, 0.9, 0.1, 1e-30]),
    most_tokens=st.sampled_from([None, 2, 3, 4, 5, 6, 100]),
    length_bias=st.sampled_from([0.0, 5.0, -1e30, 3e38]),
    scale=st.sampled_from([0.0, 1.0, 1e30, 1e38]),
    seed=st.integers(0, 1000),
)
def test_whatever_is_drawn_is_a_sequence(
    rows: int, seed: int, scale: float, most_tokens: int | None, **how: float
) -> None:
    drawing = Drawing(most_tokens=most_tokens, **how)  # type: ignore[arg-type]
    sampler = Sampler(GRAMMAR, 2, drawing, rows, torch.device("cpu"))  # two clips of two blocks
    wishes = [Request(n, n % 3 - 1, (0, 0, 0, 1)) for n in range(5)]
    wishes.append(Request(5, "pong", (0, 1, 0, 0)))
    wishes.append(Request(6, None, (1, 0, 0, 0), 1, torch.tensor([4])))
    done = dict(sampler.sample(wishes, RandomReader(seed, scale), seed))
    assert sorted(done) == list(range(7))
    for number, sequence in done.items():
        parsed = GRAMMAR.parse(sequence)
        assert parsed.label == {5: 0, 6: -1}.get(number, number % 3 - 1)
        assert all(wish in (0, length) for wish, length in zip(wishes[number].lengths, parsed.lengths, strict=True))
        for clip in (parsed.lengths[:2], parsed.lengths[2:]):
            assert most_tokens is None or sum(clip) <= most_tokens
    assert GRAMMAR.parse(done[6]).ids[0] == 4


def test_a_token_is_drawn_as_often_as_it_is_likely() -> None:
    logits = torch.tensor([0.5, 0.25, 0.2, 0.05]).log().expand(1000, 4)
    chances = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    everything = torch.ones(1000, 4, dtype=torch.bool)

    def often(allowed: Tensor = everything, **how: float) -> list[int]:
        return Drawing(**how).draw(logits, allowed, chances).bincount(minlength=4).tolist()  # type: ignore[arg-type]

    assert often() == [500, 250, 200, 50]
    assert often(top_k=2) == [667, 333, 0, 0]
    assert often(top_p=0.7) == [667, 333, 0, 0]
    assert often(top_p=0.76) == [526, 263, 211, 0]
    assert often(temperature=0) == [1000, 0, 0, 0]
    assert often(temperature=1e30) == [250, 250, 250, 250]
    # What is left of probability and rank counts among what is allowed.
    some = torch.tensor([False, True, True, False]).expand(1000, 4)
    assert often(some, top_k=1) == [0, 1000, 0, 0]
    assert often(some, top_p=0.56) == [0, 556, 444, 0]


def test_guidance_goes_from_no_class_over_the_class() -> None:
    pair = torch.tensor([[1.0, 2.0], [0.0, 4.0]])
    assert Drawing(guidance=3).guided(pair).tolist() == [[3.0, -2.0]]
    assert Drawing(guidance=0).guided(pair).tolist() == [[0.0, 4.0]]
    assert Drawing().guided(pair).tolist() == pair.tolist()


def test_a_cache_gives_what_the_whole_model_gives(generator: VideoGenerator) -> None:
    """Rows are at places of their own, and begin with several tokens or one; what stood in a row before is gone."""
    length = generator.grammar.longest
    tokens = torch.randint(70, (5, length), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = generator.model(tokens).logits
    cached = CachedLlama(generator.model, 5, length)
    cached.read(tokens.flip(0), torch.arange(length).expand(5, -1), 0, length)
    given = torch.tensor([1, 9, 4, 1, 20])
    for row, count in enumerate(given.tolist()):
        places = torch.arange(count)[None]
        logits = cached.read(tokens[row : row + 1, :count], places, row, count)
        torch.testing.assert_close(logits[0], whole[row, count - 1], atol=2e-5, rtol=0)
    cached.move(4, 0, 1)
    tokens, whole, given = tokens[[4, 1, 2, 3, 4]], whole[[4, 1, 2, 3, 4]], given[[4, 1, 2, 3, 4]]
    for step in range(15):
        places = given[:, None] + step
        logits = cached.read(tokens.gather(1, places), places, 0, int(places.max()) + 1)
        torch.testing.assert_close(logits, whole[torch.arange(5), places[:, 0]], atol=2e-5, rtol=0)


def test_a_compiled_cache_gives_the_same_and_few_shapes_serve_any_mix(generator: VideoGenerator) -> None:
    length = 150  # so that widths are 64, 128, and what is left of it
    tokens = torch.randint(70, (6, length), generator=torch.Generator().manual_seed(0))
    plain = CachedLlama(generator.model, 6, length)
    compiled = CompiledLlama(generator.model, 6, length, backend="aot_eager")

    def agree(rows: int, first: int) -> None:
        places = (first - torch.arange(rows))[:, None]
        read = [each.read(tokens[:rows].gather(1, places), places, 0, first + 1) for each in (plain, compiled)]
        torch.testing.assert_close(read[1], read[0], atol=2e-5, rtol=0)

    for cached in (plain, compiled):
        for row in range(6):
            places = torch.arange(60)[None]
            cached.read(tokens[row : row + 1, :60], places, row, 60)
    agree(6, 60)
    for first in range(61, length):  # each width comes for the first time
        agree(6, first)
    with torch._dynamo.config.patch(error_on_recompile=True):
        # Rows only leave: those that are not read lose what they know.
        for rows, first in ((6, length - 1), (5, 100), (4, 62), (3, 128)):
            agree(rows, first)
        for cached in (plain, compiled):
            cached.move(2, 0, 1)
        agree(2, 63)


def test_what_was_compiled_is_kept_for_the_next_call(
    generator: VideoGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def eager(model: LlamaForCausalLM, rows: int, length: int) -> CompiledLlama:
        made.append(rows)
        return CompiledLlama(model, rows, length, backend="eager")

    monkeypatch.setattr("evatok.generator.model.CompiledLlama", eager)
    generator = copy.deepcopy(generator)
    classes = ["pong", None, 1] * 3
    plain = [generator.sample(classes, seed=seed, rows=5) for seed in (3, 4)]
    assert [generator.sample(classes, seed=seed, rows=5, compile=True) for seed in (3, 4)] == plain
    assert generator.sample(classes[:1], seed=3, rows=5, compile=True) == plain[0][0]  # rows that stay empty
    assert made == [5]
    guided = generator.sample(classes, guidance=2.0, seed=3, rows=5)
    assert generator.sample(classes, guidance=2.0, seed=3, rows=5, compile=True) == guided
    generator.to("cpu", torch.float64)  # its keys and values are of another dtype then
    generator.sample(classes, guidance=2.0, rows=5, compile=True)
    assert made == [5, 10, 10]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_sample_is_the_same_alone_and_beside_others(generator: VideoGenerator, guidance: float) -> None:
    classes = ["pong", None, 1] * 4
    together = generator.sample(classes, guidance=guidance, seed=3, rows=16)
    assert len(set(together.assignments)) > 4  # they end at different times
    for rows in (1, 2, 5):
        assert generator.sample(classes, guidance=guidance, seed=3, rows=rows) == together
    assert generator.sample(classes[7:8], guidance=guidance, seed=3, first=7) == together[7]
    assert generator.sample(classes, guidance=guidance, seed=4) != together


def test_guidance_and_classes_count(generator: VideoGenerator) -> None:
    pong, boxing = generator.sample(["pong"] * 4), generator.sample(["boxing"] * 4)
    assert pong != boxing and pong != generator.sample(["pong"] * 4, guidance=4.0)
    assert generator.sample([None] * 4, guidance=4.0) == generator.sample([None] * 4)
    assert generator.sample(["pong"] * 4, guidance=0.0) == generator.sample([None] * 4)


def test_likeliest_tokens_are_those_of_the_model(generator: VideoGenerator) -> None:
    """One by one, by the whole model without a cache."""
    sequence = torch.tensor([generator.grammar.vocabulary.label("pong")])
    while generator.grammar.due(sequence[None]) != 4:
        with torch.no_grad():
            logits = generator.model(sequence[None]).logits[0, -1]
        allowed = generator.grammar.allowed[generator.grammar.due(sequence[None])[0]]
        sequence = torch.cat((sequence, logits.masked_fill(~allowed, -torch.inf).argmax()[None]))
    tokens = generator.sample(["pong"], temperature=0)
    assert tokens.ids.tolist() == generator.grammar.parse(sequence).ids.tolist()
    assert tuple(tokens.lengths[0].tolist()) == generator.grammar.parse(sequence).lengths


def test_lengths_can_be_asked_for(generator: VideoGenerator) -> None:
    def lengths(**how: object) -> list[list[int]]:
        return generator.sample([None] * 8, **how).lengths.tolist()  # type: ignore[arg-type]

    assert lengths(assignment=(4, 8, 8, 4)) == [[4, 8, 8, 4]] * 8
    assert {(row[0], row[2]) for row in lengths(assignment=(8, 0, 4, 0))} == {(8, 4)}
    each = torch.tensor([[4, 4, 4, 8], [8, 4, 4, 4]]).repeat(4, 1)
    assert lengths(assignment=each) == each.tolist()
    assert lengths(most_tokens=16) == [[4, 4, 4, 4]] * 8
    assert max(map(sum, lengths(most_tokens=23))) == 20 < max(map(sum, lengths()))
    assert lengths(length_bias=1000) == [[8, 8, 8, 8]] * 8
    assert lengths(length_bias=-1000) == [[4, 4, 4, 4]] * 8


def test_half_precision_samples_too(generator: VideoGenerator) -> None:
    half = VideoGenerator(generator.config).to("cpu", torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert len(half.sample(["pong"] * 3, guidance=2.0)) == 3


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_samples_too(generator: VideoGenerator) -> None:
    gpu = VideoGenerator(generator.config, copy.deepcopy(generator.model)).to("cuda")
    tokens = gpu.sample(["pong", None] * 4, guidance=2.0, most_tokens=24, rows=3)
    assert tokens == gpu.sample(["pong", None] * 4, guidance=2.0, most_tokens=24, rows=3)
    assert len(tokens) == 8 and int(tokens.lengths.sum(1).max()) <= 24
    assert len(gpu.to("cuda", torch.bfloat16).sample(["pong"] * 5)) == 5


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"guidance": -1.0}, "guidance must be at least 0, got -1.0"),
        ({"guidance": float("nan")}, "guidance must be finite, got nan"),
        ({"temperature": -0.1}, "temperature must be at least 0"),
        ({"top_k": -1}, "top_k must be at least 0"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1, got 1.5"),
        ({"length_bias": float("inf")}, "length_bias must be finite"),
        ({"seed": -1}, "seed and first must be at least 0"),
        ({"rows": 0}, "rows 1, got 0, 0 and 0"),
        ({"most_tokens": 15}, "most_tokens is 15; .* has at least 16"),
        ({"most_tokens": 20, "assignment": (8, 8, 0, 0)}, "most_tokens is 20; .* has at least 24"),
        ({"assignment": (4, 5, 4, 4)}, r"a block of 5 tokens has no length token; levels are \(4, 8\)"),
        ({"assignment": (4, 4, 4)}, r"integers of shape \(4,\) or \(2, 4\), got torch.int64 \(3,\)"),
        ({"assignment": (4.0, 4.0, 4.0, 4.0)}, "assignment must be integers"),
        ({"classes": ["pong", "chess"]}, "class 'chess' is none of the 2: pong, boxing"),
        ({"classes": [0, 2]}, "class 2 is none of the 2"),
        ({"classes": []}, "at least one"),
        ({"classes": "pong"}, "classes must be a list of them"),
        ({"classes": None}, "classes or frames are needed"),
        ({"frames": torch.zeros(3, 4, 3, 32, 32)}, "as many classes as .* got 2 and 3"),
        ({"frames": torch.zeros(2, 4, 3, 32, 40)}, r"must be \(B, F0, 3, 32, 32\)"),
        ({"frames": torch.zeros(2, 13, 3, 32, 32)}, "at most 12 frames can be given, of videos of 16; got 13"),
        ({"frames": torch.zeros(2, 0, 3, 32, 32)}, "F0 from 1 on"),
        ({"frames": torch.full((2, 4, 3, 32, 32), 3.0)}, r"\[-1"),
    ],
)
def test_what_cannot_be_is_refused(generator: VideoGenerator, how: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        generator.sample(**{"classes": ["pong", "boxing"], **how})  # type: ignore[arg-type]
