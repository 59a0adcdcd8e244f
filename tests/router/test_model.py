"""Routers: what they predict, what they pick, and that neither depends on a clip's neighbours."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evatok.allocation.calibration import Calibration
from evatok.allocation.reward import ProxyReward
from evatok.nn.transformer import TransformerConfig
from evatok.router.config import ROUTER_PRESETS, Head, RouterConfig
from evatok.router.model import Router
from evatok.router.vit import HINTS, hints
from evatok.utils.saving import CheckpointError

CALIBRATION = Calibration(ProxyReward(0.5, 0.1, 24.0, 4.0), 1.2, (0.0, 0.001, 0.01, 0.1), (32.0, 28.0, 20.0, 16.0))
MINI = RouterConfig(
    levels=(4, 8), side=16, transformer=TransformerConfig(32, 1, 2), head="regression", calibration=CALIBRATION
)
HEADS: tuple[Head, ...] = ("classification", "regression", "prefix_regression")


def made(config: RouterConfig, seed: int = 0) -> Router:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        router = Router(config).eval()
        torch.nn.init.normal_(router.network.head.weight, std=0.1)
    router.network.set_statistics(0.5 + 0.1 * torch.rand(5, config.outputs, generator=torch.Generator().manual_seed(1)))
    return router


def clips(count: int, frames: int = 16, size: tuple[int, int] = (32, 32)) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, frames, 3, *size), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("head", HEADS)
def test_tables_and_picks_have_the_shape_of_the_clips(head: Head) -> None:
    router = made(replace(MINI, head=head))
    for frames, blocks in ((16, 4), (13, 4), (8, 2), (1, 1)):
        video = clips(3, frames)
        assert router.table(video).shape == (3, 2**blocks)
        lengths = router(video)
        assert (
            lengths.shape == (3, blocks) and lengths.dtype == torch.int64 and set(lengths.unique().tolist()) <= {4, 8}
        )
    assert router(clips(1, 16, (40, 24))).shape == (1, 4)


@pytest.mark.parametrize("head", HEADS)
def test_a_clip_is_routed_alike_alone_and_in_any_batch(head: Head) -> None:
    router, video = made(replace(MINI, head=head)), clips(5)
    together = router.table(video)
    assert torch.equal(torch.cat([router.table(clip[None]) for clip in video]), together)
    assert torch.equal(router.table(video[2:4]), together[2:4])
    assert torch.equal(router.table(video.double().float() / 127.5 - 1)[3], together[3])


def test_a_pick_has_the_highest_predicted_reward() -> None:
    router, video = made(MINI), clips(4)
    space, table = MINI.space, router.table(video)
    for w_q in (0.4, 1.2, 1.9):
        best = CALIBRATION.reward(table, space.costs, w_q).argmax(1)
        assert torch.equal(router(video, w_q=w_q), space.lengths[best])
    assert (router(video, w_q=0.01) == 4).all()
    assert (router(video, w_q=0.01, prefix=(8, 4))[:, :2] == torch.tensor([8, 4])).all()


def test_prefixes_are_averaged_and_a_shorter_clip_has_the_beginning() -> None:
    router, video = made(replace(MINI, head="prefix_regression")), clips(2, 8)
    whole = torch.cat([video, video[:, -1:].expand(-1, 8, -1, -1, -1)], 1)
    outputs = router._outputs(whole)
    space = router.config.space.of_blocks(2)
    expected = (outputs[:, :2, None] + outputs[:, 2:6].unflatten(1, (2, 2))).flatten(1) / 2
    torch.testing.assert_close(router.table(video), expected)
    # A token costs a clip of half the blocks as much as one of all of them.
    price = 0.01
    picked = space.lengths[(expected / 2 + price * space.costs).argmin(1)]
    assert torch.equal(router.pick(video, price), picked)


def test_a_classification_knows_one_preference_and_no_budget() -> None:
    router, video = made(replace(MINI, head="classification")), clips(3)
    logits = router._outputs(video)
    assert torch.equal(router(video, w_q=1.2), MINI.space.lengths[logits.argmax(1)])
    torch.testing.assert_close(router.table(video).neg().exp().sum(1), torch.ones(3))
    first_two = logits.softmax(1).unflatten(1, (4, 4)).sum(2)
    repeated = torch.cat([video[:, :8], video[:, 7:8].expand(-1, 8, -1, -1, -1)], 1)
    first_two = router._outputs(repeated).softmax(1).unflatten(1, (4, 4)).sum(2)
    torch.testing.assert_close(router.table(video[:, :8]).neg().exp(), first_two)
    with pytest.raises(ValueError, match=r"learned w_q 1.2 alone, got 0.8"):
        router(video, w_q=0.8)
    with pytest.raises(ValueError, match="no budget"):
        router.price_for(20)


def test_budgets_have_prices() -> None:
    router = made(MINI)
    assert router.price_for(28) == 0.001 and router.price_for(40) == 0.0
    assert router.price_for(24) == pytest.approx((0.001 * 0.01) ** 0.5)
    with pytest.raises(ValueError, match="at least the 16 of the shortest clips, got 15"):
        router.price_for(15)


def test_an_untrained_router_says_so_and_starts_at_the_mean() -> None:
    router = Router(replace(MINI, calibration=None)).eval()
    with pytest.raises(ValueError, match="untrained"):
        router(clips(1))
    values = torch.rand(6, 16)
    router.network.set_statistics(values)
    torch.testing.assert_close(router.table(clips(2)), values.mean(0).expand(2, -1))


@pytest.mark.parametrize("head", HEADS)
def test_it_comes_back_from_its_folder(head: Head, tmp_path: Path) -> None:
    router = made(replace(MINI, head=head))
    router.save_pretrained(tmp_path / "mine")
    back = Router.from_pretrained(tmp_path / "mine")
    assert back.config == router.config and back.name == "mine"
    assert torch.equal(back.table(clips(2)), router.table(clips(2)))


def test_other_folders_and_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no folder and no shipped router"):
        Router.from_pretrained("evatok-tiny-proxy")
    with pytest.raises(ValueError, match=r"\(B, 1 to 16, 3, H, W\), got \(1, 17, 3, 32, 32\)"):
        made(MINI).table(clips(1, 17))


def test_sizes_of_the_presets() -> None:
    with torch.device("meta"):
        weights = {
            name: sum(weight.numel() for weight in Router(config).parameters())
            for name, config in ROUTER_PRESETS.items()
        }
    assert weights["paper"] == pytest.approx(19.9e6, rel=0.05)
    assert weights["tiny"] < 2.5e6


def test_hints_say_what_changes_and_when() -> None:
    video = torch.zeros(1, 16, 3, 16, 16)
    nothing = math.log(1e-3) + 4
    assert hints(video, 4).shape == (1, HINTS * 4)
    torch.testing.assert_close(hints(video, 4), torch.full((1, HINTS * 4), nothing))
    # The picture grows brighter once, from the second block to the third.
    video[:, 8:] = 0.4
    found = hints(video, 4).unflatten(1, (-1, 2, 4))[0]
    expected = torch.tensor([nothing, nothing, math.log(0.1 + 1e-3) + 4, nothing])
    torch.testing.assert_close(found[:, 0], expected.expand(3, -1))
    torch.testing.assert_close(found[:, 1], torch.full((3, 4), nothing))
    # Stripes two pixels wide are seen at the first two sizes, and not at the third.
    stripes = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(4).expand(1, 16, 3, 16, 16)
    across = hints(stripes, 4).unflatten(1, (-1, 2, 4))[0, :, 1]
    assert (across[:2] > 3).all() and (across[2] == nothing).all()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"patch": (4, 8)}, "patch must be three positive integers"),
        ({"side": 4}, "side must be at least that of a patch, 8, got 4"),
        ({"levels": (8, 4)}, "levels must be strictly increasing"),
        ({"patch": (4, 4, 8)}, r"hints need patches of at least 8 pixels in height and width, got \(4, 4, 8\)"),
    ],
)
def test_wrong_configs_are_refused(wrong: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(MINI, **wrong)
