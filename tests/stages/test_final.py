"""Stage 4 on mini videos: lengths by a router, twins, resume, and a tokenizer that holds its router."""

from dataclasses import fields, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch

from evatok.allocation.calibration import Calibration
from evatok.allocation.reward import ProxyReward
from evatok.nn.packed import Layout
from evatok.router.config import RouterConfig
from evatok.router.model import Router
from evatok.stages.final import FinalConfig, FinalTask, train_final
from evatok.stages.lengths import LengthsByRouter, LengthsConfig
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.checkpoints import checkpoints
from evatok.training.task import Item
from evatok.video.fit import to_signed
from tests.conftest import MINI
from tests.runs import mini_config
from tests.stages.routers import mini_router

SPACE = MINI.space


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("router")
    mini_router().save_pretrained(folder)
    return str(folder)


def final_config(folder: Path, videos: Path, lengths: LengthsConfig, **loop: Any) -> FinalConfig:
    mini = mini_config(folder, videos, **loop)
    return FinalConfig(**{field.name: getattr(mini, field.name) for field in fields(mini)}, lengths=lengths)


def clips(count: int) -> torch.Tensor:
    """Clips that change more and more from one to the next."""
    generator = torch.Generator().manual_seed(1)
    still, change = (torch.rand(count, frames, 3, 32, 32, generator=generator) for frames in (1, 16))
    return (2 * still - 1 + torch.linspace(0, 1, count).view(-1, 1, 1, 1, 1) * change).clamp(-1, 1)


def test_the_router_gives_each_clip_what_it_picks_at_its_preference(router: str) -> None:
    by, loaded = LengthsByRouter(LengthsConfig(router), SPACE), Router.from_pretrained(router)
    video, w_q = clips(6), [0.4, 0.8, 1.0, 1.2, 1.6, 2.0]
    expected = [loaded(clip[None], w_q=each) for clip, each in zip(video, w_q, strict=True)]
    assert torch.equal(by.at(video, w_q), torch.cat(expected))
    same = by.at(video, [1.0] * 6)
    assert len(set(map(tuple, same.tolist()))) > 1, "it sees the clips"


def test_fixed_and_uniform_lengths_weigh_the_mean_at_the_same_price(router: str) -> None:
    fixed, uniform = (LengthsByRouter(LengthsConfig(router, by), SPACE) for by in ("best_fixed", "uniform"))
    video = clips(3)
    # At w_q 1 eight instead of four in the first block are worth 30, later ones 3 for 4 tokens.
    assert fixed.at(video, [1.0] * 3).tolist() == [[8, 4, 4, 4]] * 3
    assert fixed.at(video, [0.1, 1.0, 1.9]).tolist() == [[4, 4, 4, 4], [8, 4, 4, 4], [8, 8, 8, 8]]
    # 39 are gained for 16 tokens; at w_q 0.4 a token costs four times as much.
    assert uniform.at(video, [0.4, 1.0, 2.0]).tolist() == [[4] * 4, [8] * 4, [8] * 4]


@pytest.mark.parametrize("w_q", [1.2, [0.5, 1.5]])
def test_preferences_are_drawn_for_each_clip_by_the_generator(router: str, w_q: Any, monkeypatch: Any) -> None:
    by = LengthsByRouter(LengthsConfig(router, w_q=w_q), SPACE)
    asked: list[list[float]] = []

    def noted(video: torch.Tensor, each: list[float]) -> torch.Tensor:
        asked.append(each)
        return LengthsByRouter.at(by, video, each)

    monkeypatch.setattr(by, "at", noted)
    layouts = [by(clips(40), torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert layouts[0] == layouts[1] and asked[0] == asked[1]
    low, high = (1.2, 1.2) if w_q == 1.2 else (0.5, 1.5)
    assert all(low <= each <= high for some in asked for each in some)
    assert (max(asked[0]) - min(asked[0]) > 0.8) == (high - low == 1)
    assert (asked[2] != asked[0]) == (high > low)


@pytest.mark.parametrize("w_q", [0, 2.5, (1.5, 1.0), (0.0, 1.0), (1.0, 2.1)])
def test_preferences_out_of_range_are_refused(w_q: Any) -> None:
    with pytest.raises(ValueError, match="w_q must be above 0 and at most 2, or a range within, got"):
        LengthsConfig("router", w_q=w_q)


@pytest.mark.parametrize(
    ("changed", "lengths", "message"),
    [
        ({"levels": (4, 8, 16)}, {}, r"lengths\.router must be one for .*; .* is for "),
        ({"head": "classification"}, {"w_q": (0.5, 1.2)}, r"has learned w_q 1\.2 alone, got 0\.5"),
        ({"head": "classification"}, {"w_q": 1.2, "by": "best_fixed"}, "LPIPS of blocks, not a classification"),
        (
            {"head": "regression"},
            {"by": "uniform"},
            r"lengths\.by uniform needs a router that predicts LPIPS",
        ),
    ],
)
def test_routers_that_do_not_fit_are_refused(
    changed: dict[str, Any], lengths: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = RouterConfig(levels=MINI.levels, calibration=Calibration(ProxyReward(0.2, 0.1, 24.0, 1.0)))
    Router(replace(config, **changed)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        LengthsByRouter(LengthsConfig(str(tmp_path), **lengths), SPACE)


def test_a_classification_gives_its_choice_at_its_preference(tmp_path: Path) -> None:
    config = RouterConfig(levels=MINI.levels, head="classification", side=16)
    router = Router(replace(config, calibration=Calibration(ProxyReward(0.2, 0.1, 24.0, 1.0))))
    torch.nn.init.normal_(router.network.head.weight)
    router.save_pretrained(tmp_path)
    video = clips(4)
    rows = LengthsByRouter(LengthsConfig(str(tmp_path), w_q=1.2), SPACE).at(video, [1.2] * 4)
    assert torch.equal(rows, router.eval()(video))


def test_clips_of_a_step_have_the_lengths_that_the_router_gives(
    tmp_path: Path, video_folder: Path, router: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = FinalTask(final_config(tmp_path, video_folder, LengthsConfig(router, w_q=1.0)))
    batch = task.batches[0]
    seen: list[Any] = []
    network = task.trained["tokenizer"].network

    def noted(video: torch.Tensor, layout: Layout, *others: Any) -> Any:
        seen.append(layout.lengths)
        return network(video, layout, *others)

    monkeypatch.setattr(task.trained["tokenizer"], "model", noted)
    next(iter(task.losses(5, Item(batch, 0))))
    expected = Router.from_pretrained(router)(to_signed(batch.video), w_q=1.0)
    assert seen == [tuple(map(tuple, expected.tolist()))]


def test_a_final_tokenizer_resumes_to_the_same_weights_and_holds_its_router(
    tmp_path: Path, video_folder: Path, router: str
) -> None:
    lengths = LengthsConfig(router, w_q=(0.5, 1.5))
    whole = train_final(final_config(tmp_path / "run", video_folder, lengths))
    for path in checkpoints(tmp_path / "run" / "checkpoints")[1:]:
        rmtree(path)
    kept = (whole / "model.safetensors").read_bytes()
    again = train_final(final_config(tmp_path / "run", video_folder, lengths), resume=True)
    assert (again / "model.safetensors").read_bytes() == kept
    tokenizer = VideoTokenizer.from_pretrained(again)
    assert tokenizer.router is not None and tokenizer.router.checksum == Router.from_pretrained(router).checksum
    twin = train_final(final_config(tmp_path / "twin", video_folder, replace(lengths, by="best_fixed"), steps=2))
    assert VideoTokenizer.from_pretrained(twin).router is None


def test_validation_says_what_the_router_s_own_preference_takes(
    tmp_path: Path, video_folder: Path, router: str
) -> None:
    task = FinalTask(final_config(tmp_path, video_folder, LengthsConfig(router)))
    scalars, [clips] = task.validate(0).scalars, task.validation.values()
    expected = Router.from_pretrained(router)(clips.video, w_q=1.2).sum(1).double().mean()
    assert scalars["held_out/tokens/w_q 1.2"] == pytest.approx(expected.item())
    assert (
        scalars["held_out/borders/w_q 1.2"] > 0
        and scalars["held_out/lpips/w_q 1.2"] > 0
        and scalars["held_out/lpips/8"] > 0
    )
