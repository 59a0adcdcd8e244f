"""Who decides on lengths: the caller, a router that the tokenizer carries, or the default."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evatok.allocation.calibration import Calibration
from evatok.allocation.reward import ProxyReward
from evatok.nn.transformer import TransformerConfig
from evatok.router.config import RouterConfig
from evatok.router.model import Router
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.tokens import Tokens
from evatok.video.fit import to_signed
from evatok.video.reading import read_video, write_video

CALIBRATION = Calibration(ProxyReward(0.5, 0.1, 24.0, 4.0), 1.2, (0.0, 0.001, 0.01, 0.1), (32.0, 28.0, 20.0, 16.0))
ROUTER = RouterConfig(
    levels=(4, 8), side=16, transformer=TransformerConfig(32, 1, 2), head="prefix_regression", calibration=CALIBRATION
)


class Bright(Router):
    """Holds that 8 tokens instead of 4 improve LPIPS of a block by half of its brightness."""

    def _outputs(self, video: Tensor) -> Tensor:
        blocks = [to_signed(block).flatten(1).mean(1) / 2 + 0.5 for block in video.split(4, 1)]
        blocks += [blocks[-1]] * (4 - len(blocks))
        values = [
            (0.5 - 0.5 * block[:, None] * torch.tensor([0.0, 1.0])).repeat(1, 2**t) for t, block in enumerate(blocks)
        ]
        return torch.cat(values, 1)


@pytest.fixture
def adaptive(mini: VideoTokenizer) -> VideoTokenizer:
    """The mini tokenizer's weights with a router."""
    tokenizer = VideoTokenizer(mini.config).eval()
    tokenizer.load_state_dict(mini.state_dict())
    return tokenizer.set_router(Bright(ROUTER))


def videos(count: int, frames: int, seed: int = 0) -> Tensor:
    """Grey, each block of another brightness."""
    generator = torch.Generator().manual_seed(seed)
    grey = torch.randint(0, 256, (count, -(-frames // 4), 1, 1, 1), generator=generator, dtype=torch.uint8)
    return grey.repeat_interleave(4, 1)[:, :frames].expand(-1, -1, 3, 32, 32).contiguous()


def expected(video: Tensor, price: float) -> list[list[int]]:
    """Lengths of the clips of a video: 4 tokens more where an eighth of the brightness is worth more."""
    bright = video[::4, 0, 0, 0].float() / 255
    return [[8 if b / 8 > 4 * price else 4 for b in clip.tolist()] for clip in bright.split(4)]


def found(tokens: Tokens) -> list[list[int]]:
    """Lengths of the clips of a video, blocks that do not exist left out."""
    return [[k for k in row if k] for row in tokens.lengths.tolist()]


def test_a_router_decides_where_nothing_is_said(adaptive: VideoTokenizer) -> None:
    video = videos(5, 70)
    tokens = adaptive.encode(video)
    price = 0.8 / 1.2 * 0.1 / 4
    for number, one in enumerate(tokens):
        assert found(one) == expected(video[number], price)
    assert len(set(tokens.assignments)) > 5
    assert adaptive.decode(tokens).shape == video.shape


def test_lengths_are_the_same_alone_and_in_any_batch(adaptive: VideoTokenizer) -> None:
    video = videos(11, 24)
    together = adaptive.encode(video, w_q=1.5)
    assert [adaptive.encode(one[None], w_q=1.5) for one in video] == list(together)


def test_other_wishes(adaptive: VideoTokenizer) -> None:
    video = videos(1, 160)
    for w_q in (0.8, 1.5, 2.0):
        assert found(adaptive.encode(video, w_q=w_q)) == expected(video[0], (2 - w_q) / w_q * 0.1 / 4)
    assert found(adaptive.encode(video, tokens=28)) == expected(video[0], 0.001)
    assert found(adaptive.encode(video, tokens=20)) == expected(video[0], 0.01)
    assert adaptive.encode(video, (4, 8, 4, 8)).assignments == ("4,8,4,8",) * 10


@pytest.mark.parametrize("rate", [16.5, 20.0, 27.0, 1000.0])
def test_a_rate_is_kept_by_each_video(adaptive: VideoTokenizer, rate: float) -> None:
    video = videos(3, 75, seed=3)
    tokens = adaptive.encode(video, tokens_per_second=rate, fps=16)
    for number, one in enumerate(tokens):
        assert one.tokens_per_second() <= rate
        # The brightest blocks have more, as many as the rate allows.
        by_block = torch.tensor([k for row in found(one) for k in row])
        bright = video[number, ::4, 0, 0, 0]
        if (by_block == 4).any() and (by_block == 8).any():
            assert bright[by_block == 8].min() >= bright[by_block == 4].max()
        assert rate == 1000 or one.tokens_per_second() > rate - 2 * 4 / one.seconds
        assert rate < 1000 or (by_block == 8)[bright > 0].all()
        assert adaptive.encode(video[number][None], tokens_per_second=rate, fps=16) == one


def test_a_file_is_routed_as_its_frames(adaptive: VideoTokenizer, tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    write_video(path, videos(1, 150)[0], fps=10)
    frames = read_video(path).frames[None]
    assert adaptive.encode(path).assignments == adaptive.encode(frames).assignments
    by_rate = adaptive.encode(path, tokens_per_second=20)
    assert torch.equal(by_rate.ids, adaptive.encode(frames, tokens_per_second=20, fps=10).ids)
    assert 19 < by_rate.tokens_per_second() <= 20 and by_rate.videos[0].frames == 150


def test_wishes_that_cannot_be_say_why(adaptive: VideoTokenizer, mini: VideoTokenizer) -> None:
    video = videos(1, 16)
    for wish in ({"w_q": 1.0}, {"tokens": 20}, {"tokens_per_second": 20}):
        with pytest.raises(ValueError, match=f"{next(iter(wish))} needs a router and this tokenizer has none"):
            mini.encode(video, **wish)
    with pytest.raises(ValueError, match=r"at most one of .* got w_q and tokens"):
        adaptive.encode(video, w_q=1.0, tokens=20)
    with pytest.raises(ValueError, match="w_q must be above 0"):
        adaptive.encode(video, w_q=2.5)
    with pytest.raises(ValueError, match="at least the 16 of the shortest clips"):
        adaptive.encode(video, tokens=3)
    with pytest.raises(ValueError, match=r"tokens_per_second must be at least 16\.0, .* got 12"):
        adaptive.encode(video, tokens_per_second=12, fps=16)
    classifying = Router(replace(ROUTER, head="classification"))
    with pytest.raises(ValueError, match="knows no budget"):
        adaptive.set_router(classifying).encode(video, tokens_per_second=100)
    with pytest.raises(ValueError, match="does not fit"):
        adaptive.set_router(Router(replace(ROUTER, levels=(4, 16))))


def test_without_a_router_the_default_is_taken(adaptive: VideoTokenizer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="evatok"):
        assert adaptive.set_router(None).encode(videos(1, 16)).assignments == ("8,4,4,4",)
    assert "default (8, 4, 4, 4)" in caplog.text and adaptive.router is None


def test_it_is_saved_and_moved_with_the_tokenizer(
    adaptive: VideoTokenizer, mini: VideoTokenizer, tmp_path: Path
) -> None:
    assert adaptive.checksum == mini.checksum and adaptive.state_dict().keys() == mini.state_dict().keys()
    router = Router(ROUTER)
    router.network.set_statistics(torch.rand(5, ROUTER.outputs, generator=torch.Generator().manual_seed(1)))
    adaptive.set_router(router).save_pretrained(tmp_path / "mine")
    loaded = VideoTokenizer.from_pretrained(tmp_path / "mine")
    video = videos(2, 20)
    assert loaded.router is not None and loaded.encode(video, w_q=0.9).lengths.equal(
        adaptive.encode(video, w_q=0.9).lengths
    )
    assert loaded.to("meta").router is not None and loaded.router.network.device.type == "meta"
    mini.save_pretrained(tmp_path / "mine")
    assert VideoTokenizer.from_pretrained(tmp_path / "mine").router is None


def test_a_router_chooses_what_a_prefix_leaves_open(adaptive: VideoTokenizer) -> None:
    video, price = videos(4, 40), 1.5 / 0.5 * 0.1 / 4
    for number, one in enumerate(adaptive.encode(video, w_q=0.5, prefix=(8, 4))):
        free = expected(video[number], price)
        assert found(one) == [[8, 4, *clip[2:]][: len(clip)] for clip in free]
    assert set(adaptive.encode(video, prefix=(8, 4, 8, 4)).assignments) == {"8,4,8,4", "8,4"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prefix": (5,)}, "block 0 of .* has 5 tokens"),
        ({"prefix": (8,) * 5}, "1 to 4 blocks, got 5"),
        ({"prefix": (8,), "uniform": 8}, "prefix leaves the rest to the router.* got uniform too"),
        ({"prefix": (8,), "beam": 1}, "prefix leaves the rest to the router.* got beam too"),
        ({"prefix": (8,), "tokens_per_second": 9.0}, "prefix leaves the rest .* got tokens_per_second too"),
    ],
)
def test_a_prefix_has_levels_and_goes_with_a_router_alone(
    adaptive: VideoTokenizer, options: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        adaptive.encode(videos(1, 16), **options)  # type: ignore[arg-type]


def test_a_prefix_needs_a_router(mini: VideoTokenizer) -> None:
    with pytest.raises(ValueError, match="prefix needs a router"):
        mini.encode(videos(1, 16), prefix=(8,))
