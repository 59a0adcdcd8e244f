"""`attend` against one dense mask, gradients included."""

import pytest
import torch
from torch import Tensor

from evatok.nn.attention import Segments, attend
from evatok.nn.packed import Layout, Packed, append_blocks

Lengths = list[tuple[int, ...]]
CASES: dict[str, tuple[Lengths, Lengths]] = {
    "equal clips": ([(3, 5, 4)] * 3, [(6, 6, 6)] * 3),
    "unequal clips": ([(3, 5, 4), (8, 1, 2), (3, 5, 4)], [(6, 6, 6), (2, 9, 4), (6, 6, 6)]),
    "clips of unequal numbers of blocks": ([(3, 5), (4,), (1, 2, 3)], [(6, 2), (5,), (4, 4, 4)]),
    "a later shape of one clip is an earlier one of another": ([(8, 8), (16, 8)], [(8, 8), (8, 8)]),
}


def dense(q: Tensor, k: Tensor, v: Tensor, queries: Layout, keys: Layout) -> Tensor:
    """Softmax over all pairs, with those of other clips and of later blocks masked out."""
    seen = (queries.clip[:, None] == keys.clip) & (keys.block <= queries.block[:, None])
    scores = torch.einsum("nhd,mhd->hnm", q, k) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    return torch.einsum("hnm,mhd->nhd", weights, v)


# A clip of one block has nothing left to stream after it.
STREAMED = [case for case, (queries, _) in CASES.items() if min(map(len, queries)) > 1]


@pytest.mark.parametrize(("case", "first_block"), [(case, 0) for case in CASES] + [(case, 1) for case in STREAMED])
def test_attend_equals_dense_mask_with_gradients(case: str, first_block: int) -> None:
    queries, keys = Layout(tuple(CASES[case][0])), Layout(tuple(CASES[case][1]))
    if first_block:
        queries = Layout(tuple(lengths[1:] for lengths in queries.lengths), 1)
    generator = torch.Generator().manual_seed(0)
    sizes = (queries.size, keys.size, keys.size)
    q, k, v = (torch.randn(n, 2, 16, generator=generator, requires_grad=True) for n in sizes)
    output, expected = attend(q, k, v, Segments(queries, keys)), dense(q, k, v, queries, keys)
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
    assert layout.clip.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert layout.block.tolist() == [0, 0, 1, 0, 0, 1, 0, 0, 0]
    assert layout.first_of_block.tolist() == [0, 2, 3, 5, 6]
    assert [(run.clips, run.start, run.stop) for run in layout.runs] == [(2, 0, 6), (1, 6, 9)]
