"""The beam against the exact walk."""

from itertools import product

import pytest
import torch
from torch import Tensor

from evatok.allocation.rules import Price
from evatok.pretrained.lpips import LPIPS
from evatok.search.beam import beam_search
from evatok.search.walk import search_clips
from evatok.tokenizer.model import VideoTokenizer


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LPIPS("alex")


def clips(count: int, frames: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    picture = torch.rand(count, 3, 64, 64, generator=generator)
    moved = [picture.roll(t * t, 3)[..., :32, :32] for t in range(frames)]
    return (torch.stack(moved, 1) * 255).to(torch.uint8)


@pytest.mark.parametrize("price", [0.0, 1e-5, 1e-4])
def test_a_beam_that_holds_everything_is_exact(mini: VideoTokenizer, lpips: LPIPS, price: float) -> None:
    video, space = clips(3), mini.config.space
    found = beam_search(mini, video, lpips, price, width=8)
    values = search_clips(mini, video, lpips)
    table, mse = values.lpips[:, space.prefixes].mean(2), values.mse[:, space.prefixes].mean(2)
    picks = Price(price).pick(table, space)
    assert torch.equal(found.lengths[:, 0], space.lengths[picks])
    rows = torch.tensor([[space.index(each) for each in kept] for kept in found.lengths.tolist()])
    torch.testing.assert_close(found.lpips, table.gather(1, rows), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.mse, mse.gather(1, rows), rtol=1e-4, atol=1e-2)
    cost = found.lpips + price * found.lengths.sum(2)
    assert (cost.diff(dim=1) >= -1e-6).all()


@pytest.mark.parametrize("width", [1, 3])
def test_a_narrow_beam_keeps_what_is_best_so_far(mini: VideoTokenizer, lpips: LPIPS, width: int) -> None:
    video, space, price = clips(2), mini.config.space, 2e-5
    values = search_clips(mini, video, lpips).lpips
    found = beam_search(mini, video, lpips, price, width)
    for clip in range(2):
        beam: list[tuple[int, ...]] = [()]
        for _ in range(4):
            grown = [(*prefix, level) for prefix, level in product(beam, space.levels)]
            sums = {
                prefix: sum(values[clip, space.prefix(prefix[: t + 1])].item() / 4 for t in range(len(prefix)))
                + price * sum(prefix)
                for prefix in grown
            }
            beam = sorted(grown, key=lambda prefix: sums[prefix])[:width]
        assert [tuple(each) for each in found.lengths[clip].tolist()] == beam


def test_cost_is_linear_in_the_number_of_blocks(mini: VideoTokenizer, lpips: LPIPS) -> None:
    calls: list[int] = []
    encode = mini.encode_blocks

    class Counting:
        config = mini.config

        def encode_blocks(self, video: Tensor, *others: object) -> object:
            calls.append(len(video))
            return encode(video, *others)  # type: ignore[arg-type]

        decode_blocks = staticmethod(mini.decode_blocks)

    found = beam_search(Counting(), clips(1, 40), lpips, 1e-5, width=2)  # type: ignore[arg-type]
    assert found.lengths.shape == (1, 2, 10)
    # One prefix, then two, each at two levels.
    assert calls == [1, 1] + [2, 2] * 9


def test_a_beam_without_width_is_refused(mini: VideoTokenizer, lpips: LPIPS) -> None:
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        beam_search(mini, clips(1), lpips, 0.0, width=0)
