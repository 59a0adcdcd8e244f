"""`attend` against one dense mask, gradients included."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from evatok.nn import attention
from evatok.nn.attention import Segments, VarlenTables, attend, varlen_tables
from evatok.nn.packed import Layout, Packed, append_blocks, groups_of, in_order, rows_of, runs_of, shares_of

Lengths = list[tuple[int, ...]]
Backend = Callable[[Tensor, Tensor, Tensor, Segments], Tensor]
CASES: dict[str, tuple[Lengths, Lengths]] = {
    "equal clips": ([(3, 5, 4)] * 3, [(6, 6, 6)] * 3),
    "unequal clips": ([(3, 5, 4), (8, 1, 2), (3, 5, 4)], [(6, 6, 6), (2, 9, 4), (6, 6, 6)]),
    "clips of unequal numbers of blocks": ([(3, 5), (4,), (1, 2, 3)], [(6, 2), (5,), (4, 4, 4)]),
    "a later shape of one clip is an earlier one of another": ([(8, 8), (16, 8)], [(8, 8), (8, 8)]),
}


def clip_of(layout: Layout) -> Tensor:
    """Clip of each element of a layout."""
    return torch.tensor([clip for clip, lengths in enumerate(layout.lengths) for _ in range(sum(lengths))])


def dense(q: Tensor, k: Tensor, v: Tensor, queries: Layout, keys: Layout) -> Tensor:
    """Softmax over all pairs, with those of other clips and of later blocks masked out."""
    seen = (clip_of(queries)[:, None] == clip_of(keys)) & (keys.block <= queries.block[:, None])
    scores = torch.einsum("nhd,mhd->hnm", q, k) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    return torch.einsum("hnm,mhd->nhd", weights, v)


# A clip of one block has nothing left to stream after it.
STREAMED = [case for case, (queries, _) in CASES.items() if min(map(len, queries)) > 1]


def one_by_one(q: Tensor, k: Tensor, v: Tensor, tables: VarlenTables) -> Tensor:
    """What a kernel for sequences of unequal lengths does, sequence by sequence."""
    for starts, values, longest in ((tables.queries, q, tables.most_queries), (tables.keys, k, tables.most_keys)):
        assert starts.dtype == torch.int32 and starts[0] == 0 and starts[-1] == len(values)
        assert starts.diff().max() == longest
    parts = []
    for i in range(len(tables.queries) - 1):
        mine, seen = (slice(starts[i], starts[i + 1]) for starts in (tables.queries, tables.keys))
        scores = torch.einsum("nhd,mhd->hnm", q[mine], k[seen]) / q.shape[-1] ** 0.5
        parts.append(torch.einsum("hnm,mhd->nhd", scores.softmax(-1), v[seen]))
    return torch.cat(parts)


@pytest.mark.parametrize("backend", [attention._attend_slices, attention._attend_varlen])
@pytest.mark.parametrize(("case", "first_block"), [(case, 0) for case in CASES] + [(case, 1) for case in STREAMED])
def test_backends_equal_dense_mask_with_gradients(
    case: str, first_block: int, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_varlen_kernel", one_by_one)
    queries, keys = Layout(tuple(CASES[case][0])), Layout(tuple(CASES[case][1]))
    if first_block:
        queries = Layout(tuple(lengths[1:] for lengths in queries.lengths), 1)
    generator = torch.Generator().manual_seed(0)
    sizes = (queries.size, keys.size, keys.size)
    q, k, v = (torch.randn(n, 2, 16, generator=generator, requires_grad=True) for n in sizes)
    output, expected = backend(q, k, v, Segments(queries, keys)), dense(q, k, v, queries, keys)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)
    towards = torch.randn(output.shape, generator=generator)
    found = torch.autograd.grad((output * towards).sum(), (q, k, v))
    wanted = torch.autograd.grad((expected * towards).sum(), (q, k, v))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_bfloat16_training_path_is_near_float32() -> None:
    layout = Layout(((4, 6), (4, 6), (5, 5)))
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(layout.size, 2, 16, generator=generator) for _ in range(3))
    low_q, low_k, low_v = (x.bfloat16().requires_grad_() for x in (q, k, v))
    low = attend(low_q, low_k, low_v, Segments(layout, layout))
    torch.testing.assert_close(low.float(), dense(q, k, v, layout, layout), atol=5e-2, rtol=5e-2)


def test_the_kernel_takes_what_it_is_given() -> None:
    """torch's own check of arguments and shapes, which needs no device; its interface changed with versions."""
    segments = Segments(Layout(((3, 5), (8, 1))), Layout(((6, 2), (2, 9))))
    tables = varlen_tables(segments, torch.device("cpu"))
    q, k, v = (torch.empty(n, 2, 16, dtype=torch.bfloat16, device="meta") for n in (17, 27, 27))
    assert attention._varlen_kernel(q, k, v, tables).shape == (17, 2, 16)


@pytest.mark.parametrize(("dtype", "device", "kernel"), [("float32", "cuda", False), ("bfloat16", "cuda", True)])
def test_half_precision_on_a_gpu_takes_the_kernel(
    dtype: str, device: str, kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stand_in(backend: str) -> Callable[..., Any]:
        return lambda *_: backend

    monkeypatch.setattr(attention, "_attend_varlen", stand_in("kernel"))
    monkeypatch.setattr(attention, "_attend_slices", stand_in("slices"))
    layout = Layout(((1,),))
    with FakeTensorMode(allow_non_fake_inputs=True):
        q = torch.empty(1, 2, 16, dtype=getattr(torch, dtype), device=device)
    assert attend(q, q, q, Segments(layout, layout)) == ("kernel" if kernel else "slices")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_equals_dense_mask_on_a_gpu(case: str) -> None:
    queries, keys = Layout(tuple(CASES[case][0])), Layout(tuple(CASES[case][1]))
    generator = torch.Generator().manual_seed(0)
    sizes = (queries.size, keys.size, keys.size)
    low = [torch.randn(n, 2, 16, generator=generator).bfloat16().cuda().requires_grad_() for n in sizes]
    q, k, v = (x.detach().cpu().float().requires_grad_() for x in low)
    output = attend(low[0], low[1], low[2], Segments(queries, keys))
    expected = dense(q, k, v, queries, keys)
    torch.testing.assert_close(output.cpu().float(), expected, atol=3e-2, rtol=3e-2)
    towards = torch.randn(expected.shape, generator=generator)
    found = torch.autograd.grad((output.float() * towards.cuda()).sum(), low)
    wanted = torch.autograd.grad((expected * towards).sum(), (q, k, v))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.cpu().float(), b, atol=5e-2, rtol=5e-2)


def test_segments_refuse_what_does_not_belong_together() -> None:
    with pytest.raises(ValueError, match="2 clips"):
        Segments(Layout(((1,), (1,))), Layout(((1,),)))
    with pytest.raises(ValueError, match="3 blocks of queries but 2 of keys"):
        Segments(Layout(((1, 1, 1),)), Layout(((1, 1),)))
    with pytest.raises(ValueError, match="after"):
        Segments(Layout(((1,),)), Layout(((1,),), first_block=1))


def test_append_blocks_keeps_each_clip_together() -> None:
    earlier = Packed(torch.tensor([1, 2, 5]), Layout(((2,), (1,))))
    later = Packed(torch.tensor([3, 6, 7]), Layout(((1,), (2,)), first_block=1))
    joined = append_blocks(earlier, later)
    assert joined.values.tolist() == [1, 2, 3, 5, 6, 7]
    assert joined.layout == Layout(((2, 1), (1, 2)))
    with pytest.raises(ValueError, match="cannot be followed"):
        append_blocks(later, later)


def test_layout_says_where_elements_belong() -> None:
    layout = Layout(((2, 1), (2, 1), (3,)))
    torch.testing.assert_close(shares_of(layout, torch.device("cpu")), torch.full((9,), 1 / 9))
    assert layout.block.tolist() == [0, 0, 1, 0, 0, 1, 0, 0, 0]
    assert layout.first_of_block.tolist() == [0, 2, 3, 5, 6]
    assert runs_of(layout) == [(0, 2, (slice(0, 6),)), (2, 1, (slice(6, 9),))]
    other = Layout(((1, 1), (2, 1), (1,)))
    assert runs_of(layout, other)[1] == (1, 1, (slice(3, 6), slice(2, 5))) and len(runs_of(layout, other)) == 3


def test_groups_are_the_blocks_of_equal_length() -> None:
    layout = Layout(((2, 1), (1, 1), (2, 3)))
    groups = groups_of(layout, torch.device("cpu"))
    assert [(group.block, group.length, group.clips.tolist(), group.rows.tolist()) for group in groups] == [
        (0, 1, [1], [[3]]),
        (0, 2, [0, 2], [[0, 1], [5, 6]]),
        (1, 1, [0, 1], [[2], [4]]),
        (1, 3, [2], [[7, 8, 9]]),
    ]
    values = torch.arange(10.0)
    parts = [values[group.rows.flatten()] for group in groups]
    assert torch.equal(in_order(parts, [group.rows.flatten() for group in groups]), values)


def test_groups_that_inference_made_serve_training() -> None:
    layout = Layout(((4, 3), (3, 4)))
    with torch.inference_mode():
        groups_of(layout, torch.device("cpu"))
    values = torch.ones(2, requires_grad=True)
    rows_of(values, groups_of(layout, torch.device("cpu"))[0].clips).sum().backward()
    assert values.grad is not None and values.grad.tolist() == [0, 1]
