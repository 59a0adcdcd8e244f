"""Packed attention against a dense mask; a Llama on packed sequences against transformers' own."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from evatok.generator import attention
from evatok.generator.attention import PackedLlama, attend_causally
from evatok.generator.config import GeneratorConfig, GeneratorSize
from evatok.nn.packed import Layout
from evatok.nn.transformer import compilations
from tests.generator.sets import CLASSES, FORM

CONFIG = GeneratorConfig(GeneratorSize(32, 2, 2), FORM, (32, 32), 15.0, CLASSES)


def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """The same by one mask over everything."""
    number = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    place = torch.arange(len(number))
    seen = (number[:, None] == number) & (place[:, None] >= place)
    scores = torch.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v)


@pytest.mark.parametrize("lengths", [[5], [1, 1, 1], [3, 3, 3, 7, 7, 9], [9, 2, 9, 1]], ids=str)
@pytest.mark.parametrize(("dtype", "nearly"), [(torch.float32, 1e-5), (torch.bfloat16, 4e-2)], ids=["float32", "bf16"])
def test_it_equals_a_dense_mask_gradients_included(lengths: list[int], dtype: torch.dtype, nearly: float) -> None:
    generator, sequences = torch.Generator().manual_seed(0), Layout.of([[each] for each in lengths])
    made = [torch.randn(sum(lengths), 2, 16, generator=generator).to(dtype) for _ in range(4)]
    found, expected = (
        [each.detach().to(kind).requires_grad_() for each in made[:3]] for kind in (dtype, torch.float64)
    )
    output = attend_causally(found[0], found[1], found[2], sequences)
    oracle = dense(expected[0], expected[1], expected[2], lengths)
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), oracle, rtol=nearly, atol=nearly)
    output.backward(made[3])
    oracle.backward(made[3].double())
    for one, other in zip(found, expected, strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=nearly, atol=nearly)
    with torch.no_grad():  # which goes another way in half precision
        output = attend_causally(found[0], found[1], found[2], sequences)
        torch.testing.assert_close(output.double(), oracle, rtol=nearly, atol=nearly)


def one_by_one(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, starts: torch.Tensor, longest: int) -> torch.Tensor:
    """What a kernel for sequences of unequal lengths does."""
    assert starts.dtype == torch.int32 and starts[0] == 0 and starts[-1] == len(q)
    assert starts.diff().max() == longest
    pieces = zip(*(each.tensor_split(starts[1:-1].tolist()) for each in (q, k, v)), strict=True)
    return torch.cat([dense(one, two, three, [len(one)]) for one, two, three in pieces])


def test_the_way_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the kernel, of which torch checks arguments and shapes without a device."""
    lengths, made = [3, 3, 7, 1], torch.randn(3, 14, 2, 16, generator=torch.Generator().manual_seed(0))
    sequences = Layout.of([[each] for each in lengths])
    low = made.to("meta", torch.bfloat16)
    starts = torch.tensor(sequences.starts, dtype=torch.int32)
    assert attention._varlen_kernel(low[0], low[1], low[2], starts, 7).shape == (14, 2, 16)
    monkeypatch.setattr(attention, "_varlen_kernel", one_by_one)
    found = attention._attend_varlen(made[0], made[1], made[2], sequences)
    torch.testing.assert_close(found, dense(made[0], made[1], made[2], lengths))


@pytest.fixture
def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(CONFIG.llama()).eval()


def read(llama: LlamaForCausalLM, sequences: list[torch.Tensor]) -> list[torch.Tensor]:
    """Logits of sequences that a packed Llama reads together."""
    lengths = [len(each) for each in sequences]
    places = torch.cat([torch.arange(n) for n in lengths])
    logits: torch.Tensor = PackedLlama(llama)(torch.cat(sequences), places, Layout.of([[n] for n in lengths]))
    return list(logits.split(lengths))


def test_packed_sequences_see_nothing_of_each_other_and_a_saved_model_is_transformers_own(
    llama: LlamaForCausalLM, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randint(0, len(CONFIG.grammar.vocabulary), (n,), generator=generator) for n in (6, 6, 9, 13)]
    found = read(llama, sequences)
    llama.save_pretrained(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert plain.config._attn_implementation == "sdpa"
    for sequence, logits in zip(sequences, found, strict=True):
        torch.testing.assert_close(logits, plain(sequence[None]).logits[0], rtol=1e-4, atol=1e-5)


def test_no_token_sees_a_later_one(llama: LlamaForCausalLM) -> None:
    sequences = [torch.arange(5), torch.arange(7)]
    before = torch.cat(read(llama, sequences))
    sequences[1][3] = 60
    changed = (torch.cat(read(llama, sequences)) != before).any(1)
    assert changed.tolist() == [False] * 8 + [True] * 4


def test_compiled_and_recomputed_layers_are_the_same_for_any_mix(llama: LlamaForCausalLM) -> None:
    plain, other = PackedLlama(llama), PackedLlama(deepcopy(llama)).train()
    other.compile_layers(backend="eager")
    other.recompute_layers()
    before = compilations()
    for number, lengths in enumerate(([5], [1, 1], [3, 4, 4], [9, 9, 9, 10])):
        tokens, places = torch.arange(sum(lengths)), torch.cat([torch.arange(n) for n in lengths])
        for network in (plain, other):
            network(tokens, places, Layout.of([[n] for n in lengths])).sum().backward()
        for one, two in zip(plain.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one.grad, two.grad)
        # A norm and an MLP, once and for all.
        assert compilations() == before + 2, number
