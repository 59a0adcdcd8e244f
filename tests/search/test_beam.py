"""The beam of the network against the exact walk."""

from typing import Any

import pytest
import torch
from torch import Tensor

from evatok.allocation.beam import Beam, Expected, Kept, OfTable
from evatok.allocation.rules import Price
from evatok.pretrained.lpips import LPIPS
from evatok.search.walk import search_clips
from evatok.tokenizer.measuring import OfNetwork
from evatok.tokenizer.model import VideoTokenizer
from evatok.video.fit import to_signed


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


def found_by(beam: Beam, mini: VideoTokenizer, video: Tensor, lpips: LPIPS | None) -> list[list[Kept]]:
    """What a beam keeps of each clip, best first."""
    with torch.no_grad():
        blocks = video.shape[1] // 4
        return [beam.run(OfNetwork(mini, to_signed(clip[None]), lpips), blocks) for clip in video]


@pytest.mark.parametrize("price", [0.0, 1e-5, 1e-4])
def test_a_beam_that_holds_everything_is_exact(mini: VideoTokenizer, lpips: LPIPS, price: float) -> None:
    video, space = clips(3), mini.config.space
    values = search_clips(mini, video, lpips)
    table = values.lpips[:, space.prefixes].mean(2)
    found = found_by(Beam(space.levels, 8, 4 * price), mini, video, lpips)
    assert [kept[0].lengths for kept in found] == [space.assignment(int(at)) for at in Price(price).pick(table, space)]
    for kept, measured in zip(found, table, strict=True):
        errors = torch.tensor([each.error / 4 for each in kept])
        torch.testing.assert_close(errors, measured[[space.index(each.lengths) for each in kept]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("width", [1, 2])
def test_a_beam_is_what_it_is_on_a_searched_table(mini: VideoTokenizer, lpips: LPIPS, width: int) -> None:
    video, space = clips(3), mini.config.space
    values = search_clips(mini, video, lpips).lpips
    beam = Beam(space.levels, width, 4e-5, Expected(space, values.mean(0)))
    found = found_by(beam, mini, video, lpips)
    looked_up = [beam.run(OfTable(space, errors), 4) for errors in values]
    assert [[each.lengths for each in kept] for kept in found] == [
        [each.lengths for each in kept] for kept in looked_up
    ]


def test_squared_errors_are_measured_where_lpips_is_not_wanted(mini: VideoTokenizer, lpips: LPIPS) -> None:
    video, space = clips(2), mini.config.space
    mse = search_clips(mini, video, lpips).mse[:, space.prefixes].mean(2)
    found = found_by(Beam(space.levels, 8, 0.0), mini, video, None)
    assert [space.index(kept[0].lengths) for kept in found] == mse.argmin(1).tolist()


@pytest.mark.parametrize("blocks", [8, 16, 64])
def test_one_clip_of_many_blocks_at_linear_cost(
    mini: VideoTokenizer, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = mini.config.space
    expected = Expected(space, torch.linspace(0.3, 0.2, space.prefix_starts[-1]))
    calls: list[int] = []
    encode = mini.encode_blocks

    def counted(video: Tensor, *others: Any) -> Any:
        calls.append(len(video))
        return encode(video, *others)

    monkeypatch.setattr(mini, "encode_blocks", counted)
    [kept] = found_by(Beam(space.levels, 1, 1e-5, expected), mini, clips(1, 4 * blocks), None)
    assert len(kept[0].lengths) == blocks
    assert sum(calls) == 2 * blocks
