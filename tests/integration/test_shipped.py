"""The shipped tokenizers are adaptive by the shipped routers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import evatok
from evatok import PRESETS, Router, VideoGenerator, VideoTokenizer
from evatok.data.toy.games import GamesConfig, GamesSource
from evatok.video.fit import resize

CONFIGS = {
    "evatok-tiny": replace(PRESETS["tiny"], overlap=2, ids_of="0194adb047c8f1fd"),
    "evatok-tiny-proxy": PRESETS["tiny"],
    "evatok-mini-proxy": PRESETS["mini"],
}
EACH = pytest.mark.parametrize("name", CONFIGS)


def test_the_shipped_tokenizer_carries_the_shipped_router() -> None:
    tokenizer, router = (
        VideoTokenizer.from_pretrained("evatok-tiny-proxy"),
        Router.from_pretrained("evatok-tiny-router"),
    )
    assert tokenizer.router is not None
    carried = tokenizer.router.state_dict()
    assert all(torch.equal(weight, carried[name]) for name, weight in router.state_dict().items())
    assert tokenizer.router.config == router.config
    inside = Router.from_pretrained("evatok-tiny-proxy", subfolder="router")
    assert inside.checksum == router.checksum and inside.name == "evatok-tiny-proxy/router"


@EACH
def test_a_shipped_tokenizer_is_the_one_that_its_card_describes(name: str) -> None:
    tokenizer = VideoTokenizer.from_pretrained(name, dtype=torch.bfloat16)
    card = Path(evatok.__file__).parent / "weights" / tokenizer.name / "README.md"
    assert f"(checksum {tokenizer.checksum})" in card.read_text()


@EACH
def test_it_gives_the_ids_that_it_always_gave(name: str) -> None:
    recorded = json.loads((Path(__file__).parent / "shipped_ids.json").read_text())[name]
    tokenizer = VideoTokenizer.from_pretrained(name)
    tokens = tokenizer.encode(made_up(), assignment=recorded["assignment"])
    assert tokens.format.checksum == recorded["ids_of"]
    expected = torch.tensor(recorded["ids"])
    # Another processor may decide otherwise between two codes that are equally near.
    assert tokens.ids.shape == expected.shape and (tokens.ids == expected).double().mean() > 0.95


def made_up() -> torch.Tensor:
    """Shapes that move over slopes, `(2, 20, 3, 64, 64)` uint8, by whole numbers alone."""
    time, y, x = torch.meshgrid(torch.arange(20), torch.arange(64), torch.arange(64), indexing="ij")
    disc = ((x - 2 * time) % 40 - 20) ** 2 + (y - 30) ** 2 < 120
    frames = torch.stack([((x + 3 * time) % 50 - 25).abs() * 8, 4 * y, 255 * disc], 1)
    return torch.stack([frames, frames.flip(-1)]).to(torch.uint8)


@EACH
def test_it_spends_less_on_a_still_wall_and_more_when_asked_for_quality(name: str) -> None:
    tokenizer = VideoTokenizer.from_pretrained(name)
    across = torch.linspace(60, 200, 64).expand(16, 3, 64, 64)
    wall = across.to(torch.uint8)
    generator = torch.Generator().manual_seed(0)
    shapes = torch.rand(1, 16 * 3, 8, 8, generator=generator)
    lively = (
        torch.nn.functional.interpolate(shapes, 64, mode="nearest")[0].unflatten(0, (16, 3)).mul(255).to(torch.uint8)
    )
    quiet, busy = (int(tokenizer.encode(clip[None]).lengths.sum()) for clip in (wall, lively))
    assert quiet < busy
    spent = [int(tokenizer.encode(lively[None], w_q=w_q).lengths.sum()) for w_q in (0.4, 1.2, 2.0)]
    assert spent == sorted(spent) and spent[0] < spent[2]


def test_the_shipped_classification_knows_its_preference() -> None:
    router = Router.from_pretrained("evatok-tiny-router-classification")
    assert router(torch.zeros(1, 16, 3, 64, 64)).shape == (1, 4) and router.calibration.w_q == 1.2


@EACH
def test_it_is_of_its_preset(name: str) -> None:
    assert VideoTokenizer.from_pretrained(name).config == CONFIGS[name]


def test_all_that_ship_are_tested() -> None:
    assert set(VideoTokenizer.KIND.shipped) == set(CONFIGS)


def games_of_other_episodes(names: list[str]) -> Tensor:
    """A clip of each of some games, of an episode that nothing was trained on."""
    source = GamesSource(GamesConfig(names, seeds=(500, 501), frames=32))
    return torch.stack([resize(source.read(n, 0, 16, 1)[:, :, 25:185], (64, 64)) for n in range(len(names))])


def test_the_shipped_generators_decoder_makes_better_games_of_the_same_ids() -> None:
    tokenizer = VideoTokenizer.from_pretrained("evatok-tiny")
    decoder = VideoGenerator.from_pretrained("evatok-tiny-ale").tokenizer
    assert decoder is not None and decoder.name == "evatok-tiny-ale/tokenizer"
    card = Path(evatok.__file__).parent / "weights" / "evatok-tiny-ale" / "README.md"
    assert f"(checksum {decoder.checksum})" in card.read_text()
    kept, own = tokenizer.state_dict(), decoder.state_dict()
    assert {name.split(".")[0] for name in kept if not torch.equal(kept[name], own[name])} == {"decoder"}
    real = games_of_other_episodes(["atlantis", "boxing", "enduro", "freeway", "pong", "qbert"])
    tokens = tokenizer.encode(real, w_q=1.05, fit="none")
    errors = [(each.decode(tokens).float() - real.float()).square().flatten(1).mean(1) for each in (tokenizer, decoder)]
    assert (errors[1] < 0.9 * errors[0]).sum() >= 5


def test_the_shipped_generator_writes_the_games_that_are_asked_for() -> None:
    """Pictures of a game are nearer to those of another episode of it than to those of other games."""
    generator = VideoGenerator.from_pretrained("evatok-tiny-ale")
    assert generator.config.tokens == VideoTokenizer.from_pretrained("evatok-tiny").token_format
    names = ["boxing", "enduro", "freeway", "chopper_command", "et", "atlantis"]
    real = games_of_other_episodes(names)[:, 0]
    made = generator.generate(names, seed=0)
    assert made.videos.shape == (6, 16, 3, 64, 64) and set(made.tokens.lengths.flatten().tolist()) <= {
        8,
        16,
        32,
        64,
        128,
    }
    apart = (made.videos[:, 0].float()[:, None] - real.float()).abs().flatten(2).mean(2)
    assert (apart.argmin(1) == torch.arange(len(names))).sum() >= 5
