"""Lengths by measuring: what `encode(beam=...)` promises."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from evatok.allocation.calibration import BEAM_STEP, Calibration
from evatok.allocation.reward import ProxyReward
from evatok.nn.transformer import TransformerConfig
from evatok.pretrained.lpips import LPIPS
from evatok.router.config import RouterConfig
from evatok.router.model import Router
from evatok.tokenizer.model import VideoTokenizer
from tests.conftest import IN_PASSES, random_tokenizer

PRICES = tuple(0.0002 * 1.5**step for step in range(11))
CALIBRATION = Calibration(
    ProxyReward(0.5, 0.1, 24.0, 4.0),
    1.2,
    PRICES,
    tuple(32.0 - 1.6 * step for step in range(11)),
    {"1": (32.0, 25.0), "4": (32.0, 20.0)},
    0.0001,
)
ROUTER = RouterConfig(
    levels=(4, 8), side=16, transformer=TransformerConfig(32, 1, 2), head="prefix_regression", calibration=CALIBRATION
)


@pytest.fixture
def adaptive() -> VideoTokenizer:
    """A small tokenizer with a router that predicts the same of every clip."""
    return random_tokenizer(IN_PASSES).set_router(Router(ROUTER))


def videos(count: int, frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 256, (count, 3, 4, 4), generator=generator, dtype=torch.uint8)
    large = pictures.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return torch.stack([large.roll(frame * frame, 3) for frame in range(frames)], 1)


def test_lengths_are_the_same_alone_and_in_any_batch(mini: VideoTokenizer) -> None:
    tokenizer = VideoTokenizer(mini.config).eval()
    tokenizer.load_state_dict(mini.state_dict())
    tokenizer.set_router(Router(ROUTER))
    video = videos(3, 24)
    together = tokenizer.encode(video, w_q=1.9, beam=2)
    assert [tokenizer.encode(one[None], w_q=1.9, beam=2) for one in video] == list(together)
    # 24 frames are a full clip and half of one.
    assert torch.equal(tokenizer.encode(video[:1, :16], w_q=1.9, beam=2).lengths, together.lengths[:1])


@pytest.mark.parametrize("metric", ["alex", "vgg", "mse"])
def test_what_costs_nothing_is_best_and_what_costs_all_is_shortest(adaptive: VideoTokenizer, metric: str) -> None:
    video = videos(3, 16)
    dear = adaptive.encode(video, w_q=0.001, beam=2, beam_metric=metric)  # type: ignore[arg-type]
    assert set(dear.assignments) == {"4,4,4,4"}
    free = adaptive.encode(video, w_q=2.0, beam=4, beam_metric=metric)  # type: ignore[arg-type]
    assert free.num_tokens > dear.num_tokens
    errors = [(adaptive.decode(tokens).float() - video.float()).square().mean() for tokens in (free, dear)]
    assert metric != "mse" or errors[0] < errors[1]


def test_weights_in_half_precision_are_measured_too(adaptive: VideoTokenizer) -> None:
    tokens = adaptive.to(torch.bfloat16).encode(videos(1, 16), w_q=1.9, beam=1)
    assert set(tokens.lengths.unique().tolist()) <= {4, 8}


def test_a_budget_has_the_beams_own_price(adaptive: VideoTokenizer) -> None:
    video = videos(4, 16)
    assert CALIBRATION.price_for(25.0, 1) == pytest.approx(PRICES[BEAM_STEP])
    assert CALIBRATION.price_for(20.0, 3) == pytest.approx(PRICES[BEAM_STEP])  # 4 is nearer than 1
    by_budget = adaptive.encode(video, tokens=25.0, beam=1, beam_metric="mse")
    w_q = 2 / (1 + PRICES[BEAM_STEP] * 4.0 / 0.1)
    assert by_budget == adaptive.encode(video, w_q=w_q, beam=1, beam_metric="mse")


def test_a_rate_is_kept_by_every_video(adaptive: VideoTokenizer) -> None:
    video, wish = videos(2, 24), {"fps": 8, "beam": 1, "beam_metric": "mse"}
    tokens = adaptive.encode(video, tokens_per_second=9.0, **wish)  # type: ignore[arg-type]
    assert all(each.tokens_per_second() <= 9.0 for each in tokens)
    alone = [adaptive.encode(one[None], tokens_per_second=9.0, **wish) for one in video]  # type: ignore[arg-type]
    assert alone == list(tokens)
    with pytest.raises(ValueError, match="tokens_per_second must be at least 8"):
        adaptive.encode(video, tokens_per_second=3.0, **wish)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"beam": -1}, "beam must be a whole number from 0 on"),
        ({"beam": 1.5}, "beam must be a whole number from 0 on"),
        ({"beam": 2, "uniform": 8}, "beam chooses lengths, which uniform gives"),
        ({"beam": 2, "assignment": (8, 8, 8, 8)}, "beam chooses lengths, which assignment gives"),
        ({"beam": 2, "beam_metric": "psnr"}, "beam_metric must be one of alex, vgg, mse"),
        ({"beam": 2, "tokens": 1.0}, "tokens must be at least"),
    ],
)
def test_what_makes_no_sense_is_refused(adaptive: VideoTokenizer, wish: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adaptive.encode(videos(1, 16), **wish)  # type: ignore[arg-type]


def test_lpips_is_by_the_network_that_is_said_or_else_by_the_routers(
    adaptive: VideoTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, seen = videos(1, 16), list[str]()
    by = LPIPS.distance

    def watched(lpips: LPIPS, x: list[Tensor], y: list[Tensor]) -> Tensor:
        seen.append(lpips.network)
        return by(lpips, x, y)

    monkeypatch.setattr(LPIPS, "distance", watched)
    adaptive.encode(video, beam=1)
    adaptive.encode(video, beam=1, beam_metric="vgg")
    adaptive.set_router(Router(replace(ROUTER, calibration=replace(CALIBRATION, lpips_net="vgg"))))
    adaptive.encode(video, beam=1)
    adaptive.encode(video, beam=1, beam_metric="alex")
    assert seen == [*["alex"] * 4, *["vgg"] * 8, *["alex"] * 4]


def test_pictures_too_small_for_lpips_are_told(adaptive: VideoTokenizer) -> None:
    wide = torch.zeros(1, 4, 3, 32, 128, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"at least 31 pixels; the tokenizer sees these as .*: use beam_metric `mse`"):
        adaptive.encode(wide, beam=1)
    assert adaptive.encode(wide, beam=1, beam_metric="mse").num_clips == 1
    assert adaptive.encode(wide, beam=1, beam_metric="vgg").num_clips == 1  # from 16 pixels on


def test_a_beam_needs_a_router_that_knows_prices(mini: VideoTokenizer, adaptive: VideoTokenizer) -> None:
    video = videos(1, 16)
    with pytest.raises(ValueError, match="beam needs a router"):
        mini.encode(video, beam=2)
    adaptive.set_router(Router(replace(ROUTER, head="classification")))
    with pytest.raises(ValueError, match="one preference alone"):
        adaptive.encode(video, beam=2)
    without = Calibration(CALIBRATION.reward, 1.2, PRICES, CALIBRATION.tokens)
    adaptive.set_router(Router(replace(ROUTER, calibration=without)))
    with pytest.raises(ValueError, match="no prices for beams"):
        adaptive.encode(video, beam=2, tokens=25.0)
    with pytest.raises(ValueError, match="squared error"):
        adaptive.encode(video, beam=2, beam_metric="mse")
    # One that predicts whole assignments tells no cost to go: then all lengths are measured.
    adaptive.set_router(Router(replace(ROUTER, head="regression")))
    assert adaptive.encode(video, beam=2).num_clips == 1
