"""The blockwise router: what it measures, how it describes prefixes, and that it learns one block from another."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from evatok.assignment import AssignmentSpace
from evatok.router.blockwise import BlockwiseNetwork, describe
from evatok.router.config import BlockwiseConfig, RouterConfig
from evatok.router.measures import MEASURES, measures
from evatok.router.model import Router

CONFIG = RouterConfig(levels=(4, 8, 16), blocks=3, side=16, blockwise=BlockwiseConfig(32, 8))
STILL = (math.log(1e-5) + 7) / 2


def clips(count: int, frames: int = 12, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, frames, 3, 16, 16), generator=generator, dtype=torch.uint8)


def drawn(seed: int = 0) -> BlockwiseNetwork:
    """A network that says something of every clip."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = BlockwiseNetwork(CONFIG)
        torch.nn.init.normal_(network.head.weight, std=0.5)
    network.set_statistics(0.1 + 0.1 * torch.rand(6, CONFIG.outputs, generator=torch.Generator().manual_seed(1)))
    return network.eval()


def test_a_grey_clip_has_nothing_to_measure() -> None:
    found = measures(torch.zeros(2, 12, 3, 16, 16), 3)
    assert found.shape == (2, 3, MEASURES) and found.dtype == torch.float32
    torch.testing.assert_close(found[:, :, : MEASURES // 2], torch.full((2, 3, MEASURES // 2), STILL))
    torch.testing.assert_close(found[:, :, MEASURES // 2 :], torch.zeros(2, 3, MEASURES // 2))


def test_a_step_of_brightness_is_measured_where_it_happens() -> None:
    video = torch.zeros(1, 12, 3, 16, 16)
    video[:, 6:] = 0.5  # in the middle of the second block
    slopes, steps, about_mean, from_before, *left = measures(video, 3)[0, :, : MEASURES // 2].unbind(1)

    def of(mean_square: float) -> float:
        return (math.log(mean_square + 1e-5) + 7) / 2

    nothing = of(0)
    torch.testing.assert_close(slopes, torch.full((3,), nothing))
    torch.testing.assert_close(steps, torch.tensor([nothing, of(0.25 / 4), nothing]))
    torch.testing.assert_close(about_mean, torch.tensor([nothing, of(0.25**2), nothing]))
    torch.testing.assert_close(from_before, torch.tensor([nothing, of(0.25 / 2), nothing]))
    # Flat frames are means over cells.
    assert all((each < nothing + 1e-3).all() for each in left)


def test_a_pattern_in_one_part_is_told_from_a_fainter_one_everywhere() -> None:
    pattern = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 12, 3, 16, 16)
    one = torch.zeros_like(pattern)
    one[..., :8, :8] = pattern[..., :8, :8]
    half = MEASURES // 2
    everywhere, corner = measures(pattern / 2, 3)[0, 0], measures(one, 3)[0, 0]
    fine = 4  # what is left of the block less means over cells of two pixels
    assert corner[fine] < everywhere[fine] - 1 and corner[half + fine] > 2 > 0.1 > everywhere[half + fine]


@pytest.mark.parametrize("change", [lambda v: v.flip(-1), lambda v: v.flip(2), lambda v: -v])
def test_mirrored_recoloured_and_negative_clips_are_measured_alike(
    change: Callable[[Tensor], Tensor],
) -> None:
    video = clips(2).float() / 127.5 - 1
    found, changed = measures(video, 3), measures(change(video), 3)
    # A mirrored picture's slopes lie one pixel over.
    torch.testing.assert_close(changed, found, atol=0.05, rtol=0)


def test_a_block_is_judged_by_it_and_those_before() -> None:
    network, video = drawn(), clips(2)
    other = video.clone()
    other[:, 8:] = 255 - other[:, 8:].roll(3, -1) // 2
    first, second = network(network.look(video)), network(network.look(other))
    starts = CONFIG.space.prefix_starts
    assert torch.equal(first[:, : starts[2]], second[:, : starts[2]])
    assert not torch.equal(first[:, starts[2] :], second[:, starts[2] :])


def test_prefixes_are_described_by_their_end() -> None:
    space = AssignmentSpace((4, 8, 16), 3)
    rows = describe(space)
    assert rows.shape == (space.prefix_starts[-1], 4 * 3 + 3)
    assert len({tuple(row) for row in rows.tolist()}) == len(rows)
    row = rows[space.prefix((16, 4))]
    expected = [1, -1, 0.5, 1, 1, 0.5, 0, 0, 0, 0, 1, 0, -1, 1, 1]
    torch.testing.assert_close(row, torch.tensor(expected, dtype=torch.float32))


def test_it_begins_with_the_mean_of_logarithms_whatever_was_measured() -> None:
    network = BlockwiseNetwork(CONFIG)
    values = 0.05 + torch.rand(8, CONFIG.outputs, generator=torch.Generator().manual_seed(0))
    values[2:, 5:] = torch.nan
    network.set_statistics(values)
    expected = torch.cat([values[:, :5].log().mean(0), values[:2, 5:].log().mean(0)]).exp()
    torch.testing.assert_close(network(network.look(clips(1)))[0], expected)
    torch.testing.assert_close(network.mean, values[:2].mean(0))


def test_what_one_block_teaches_serves_the_others() -> None:
    """Only the first block is ever measured: lively clips cost twice what still ones do."""
    network, video = drawn(), clips(16)
    torch.nn.init.zeros_(network.head.weight)
    video[::2] = video[::2, :1]
    seen = network.look(video)
    factor = torch.tensor([0.1, 0.2]).repeat(8)[:, None]
    network.set_statistics(factor.expand(-1, CONFIG.outputs))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    first = CONFIG.space.prefix_starts[1]
    for _ in range(150):
        loss = (network(seen)[:, :first] / factor).log().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    later = network(network.look(torch.cat([clips(1, seed=5)[:, :1].expand(-1, 12, -1, -1, -1), clips(1, seed=6)])))
    assert (later[1] > 1.1 * later[0])[: CONFIG.space.prefix_starts[2]].all()


def test_clips_of_any_size_and_length_are_routed_alike_alone_and_together() -> None:
    router = Router(CONFIG).eval()
    router.network = drawn()
    video = clips(3)
    together = router.table(video)
    assert torch.equal(torch.cat([router.table(clip[None]) for clip in video]), together)
    assert router.table(torch.zeros(1, 5, 3, 45, 80, dtype=torch.uint8)).shape == (1, 9)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"head": "classification"}, "one of the head 'prefix_regression', got 'classification'"),
        ({"patch": (4, 12, 12), "side": 24}, r"parts of 8 pixels, which patch must fit, got \(4, 12, 12\)"),
    ],
)
def test_wrong_configs_are_refused(wrong: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(CONFIG, **wrong)
    with pytest.raises(ValueError, match="width must be at most 8192"):
        BlockwiseConfig(width=10**9)
