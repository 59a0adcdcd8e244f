"""Benchmarks of searches, routers and beams, on made-up tables and small models."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import (
    beam_metrics,
    beam_width,
    budgets,
    final_tokenizers,
    long_clips,
    router_scaling,
    router_trials,
    routing_ceiling,
    twins,
)
from evatok.allocation.calibration import Calibration
from evatok.allocation.reward import ProxyReward
from evatok.assignment import AssignmentSpace
from evatok.data.folders import FolderConfig
from evatok.evaluation.metrics import clip_psnr, clip_scores
from evatok.evaluation.routing import Prediction
from evatok.evaluation.strategies import Curve
from evatok.nn.transformer import TransformerConfig
from evatok.pretrained.lpips import LPIPS
from evatok.router.config import RouterConfig
from evatok.router.model import Router
from evatok.search.table import SearchTable
from evatok.search.walk import BlockValues, search_clips
from evatok.stages.router import RouterTask, RouterTrainingConfig
from evatok.stages.search.dataset import SearchedClips
from evatok.stages.search.parts import SearchConfig
from evatok.stages.search.run import search
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokenizer.network import TokenizerNetwork
from evatok.training.loop import LoopConfig
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Item
from tests.conftest import IN_PASSES, random_tokenizer


def routed() -> VideoTokenizer:
    """A small tokenizer with a router that predicts blocks one by one, both of random weights."""
    calibration = Calibration(ProxyReward(0.5, 0.1, 24.0, 4.0))
    model = RouterConfig((4, 8), side=16, transformer=TransformerConfig(32, 1, 2), calibration=calibration)
    return random_tokenizer(IN_PASSES).set_router(Router(replace(model, head="prefix_regression")))


def searched(clips: int) -> SearchTable:
    """A made-up table in which later blocks lean on earlier ones."""
    generator, space = torch.Generator().manual_seed(0), AssignmentSpace((8, 16, 32), 3)
    prefixes, need = space.prefix_starts[-1], torch.rand(clips, 1, generator=generator)
    tokens = [sum(each) for blocks in (1, 2, 3) for each in space.of_blocks(blocks).lengths.tolist()]
    lpips = need * torch.exp(-torch.tensor(tokens) / 40) + 0.05 * torch.rand(clips, prefixes, generator=generator)
    about = {"tokenizer": "made up"}
    keys = tuple(f"made:{clip}" for clip in range(clips))
    return SearchTable(space, tuple(range(clips)), keys, lpips.square(), lpips, torch.zeros(clips, 3), about)


def test_wider_beams_save_more_and_one_that_holds_everything_what_the_search_saves() -> None:
    truth = searched(40)
    reward = ProxyReward.fit(truth.clip_lpips, truth.space.costs)
    values = truth.lpips.mean(0).expand(40, -1)
    mean = Prediction("mean", truth.clip_lpips.mean(0).expand(40, -1))
    *rows, whole = beam_width.measure(
        truth, reward, mean, {"mean": values, "none": None}, [(1, 1), (1, None), (9, None)], 10
    )
    assert [row["blocks a clip"] for row in rows] == [3, 9, 3 + 9 + 19, 9, 3 + 9 + 27]
    assert rows[0]["saved %"] < rows[1]["saved %"] < whole["saved %"]
    assert rows[-1]["saved %"] == pytest.approx(whole["saved %"])


def test_a_better_tokenizer_saves_tokens_over_its_twins_and_lengths_that_know_the_clip_over_fixed_ones() -> None:
    truth = searched(40)
    reward = ProxyReward.fit(truth.clip_lpips, truth.space.costs)
    mean, router = truth.clip_lpips.mean(0)[None], Prediction("router", truth.clip_lpips, values=truth.lpips)
    better = replace(truth, lpips=0.8 * truth.lpips)
    tables = {"proxy": truth, "final": better, "fixed": truth, "uniform": truth}
    curves = {
        (name, by): curve
        for name, table in tables.items()
        for by, curve in final_tokenizers.curves_of(table, reward, router, mean).items()
    }
    found = {(row["of"], row["over"]): row for row in final_tokenizers.comparisons(curves, draws=20)}
    assert len(found) == len(final_tokenizers.PAIRS)
    assert found["uniform by uniform", "proxy by uniform"]["saved, %"] == pytest.approx(0)
    gained = found["final by fixed", "proxy by fixed"]
    assert 0 < gained["from"] < gained["saved, %"] < found["final by router", "fixed by fixed"]["saved, %"]
    rows = {(row["tokenizer"], row["lengths by"]): row for row in final_tokenizers.points(curves)}
    assert rows["final", "uniform 16"]["lpips"] == pytest.approx(0.8 * rows["proxy", "uniform 16"]["lpips"])
    assert [rows["proxy", f"uniform {level}"]["tokens"] for level in (8, 16, 32)] == [24, 48, 96]
    assert rows["proxy", "beam 2"]["tokens"] > 24


def test_a_beam_is_judged_by_what_it_measures_and_by_what_it_does_not(mini: VideoTokenizer) -> None:
    space, asked = mini.config.space, beam_metrics.ways((8, 16, 32), [0.8, 1.2, 1.6], width=2)
    assert asked["vgg"][0.8] == {"w_q": 0.8, "beam": 2, "beam_metric": "vgg"}
    clip = torch.randint(0, 256, (1, 16, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    networks = [LPIPS.from_pretrained("alex"), LPIPS.from_pretrained("vgg")]
    uniform: beam_metrics.Ways = {"uniform": {level: {"uniform": level} for level in space.levels}}
    own = beam_metrics.numbers(mini, networks, clip, uniform)["uniform"]
    for row, level in zip(own, space.levels, strict=True):
        shown = mini.decode(mini.encode(clip, uniform=level))
        by_networks = [clip_scores(clip, shown, lpips).lpips.item() for lpips in networks]
        assert row[1:] == pytest.approx([4 * level, *by_networks, -clip_psnr(clip, shown).item()], rel=1e-5)
    # Made up: with as many tokens as uniform lengths, what a beam measures is as good as theirs is at twice as many.
    tokens, quality = np.array([16, 32, 64]), np.array([3.0, 2.0, 1.0])
    reference = np.stack([np.ones(3), tokens, *[quality] * 3], 1)
    found = {"uniform": reference}
    for column, kind in enumerate(("alex", "vgg", "mse"), 2):
        found[kind] = reference.copy()
        found[kind][:, column] -= 1
    rows = {row["a beam measures"]: row for row in beam_metrics.compared([found] * 3, asked, draws=5)}
    for judge, best in (("alex", "alex"), ("vgg", "vgg"), ("psnr", "mse")):
        saved = {kind: row[f"saved at equal {judge}, %"] for kind, row in rows.items()}
        assert saved == pytest.approx({"uniform": 0, "alex": 0, "vgg": 0, "mse": 0, best: 50}, abs=1e-6)


def test_a_long_clip_is_set_beside_the_same_frames_in_clips_of_four(video_folder: Path) -> None:
    tokenizer = routed()
    [some] = long_clips.long_videos([FolderConfig(str(video_folder))], 2, 32, 16).values()
    videos = torch.cat([some, some.flip(1)], 1)
    rows = long_clips.compared(tokenizer, LPIPS.from_pretrained("alex"), videos, [4, 8], [0.5, 1.9], draws=5)
    beams = ["beam 1", "beam 2"]
    assert [row["lengths by"] for row in rows] == ["uniform", "fixed", "router", *beams, "uniform", *beams]
    assert [row["blocks a clip"] for row in rows] == [4] * 5 + [8] * 3 and rows[0]["saved %"] == pytest.approx(0)
    for row in rows:
        assert row["finding, ms a block"] > 0 and row["coding, ms a block"] > 0
        for point in row["points"]:
            assert len(point["lpips by place"]) == row["blocks a clip"]
            assert sum(point["lpips by place"]) / row["blocks a clip"] == pytest.approx(point["lpips"])
    assert [point["tokens a block"] for point in rows[5]["points"]] == [4, 8]
    for row, beam in zip(rows[3:5], (1, 2), strict=True):  # clips of four blocks are what `encode` makes of them
        for point in row["points"]:
            tokens = tokenizer.encode(videos, w_q=point["setting"], beam=beam)
            assert point["tokens a block"] == tokens.num_tokens / 16
            assert point["psnr"] == pytest.approx(clip_psnr(videos, tokenizer.decode(tokens)).mean().item(), abs=1e-3)


def test_a_twin_under_its_lengths_is_what_a_search_of_it_says(mini: VideoTokenizer) -> None:
    space, lpips = mini.config.space, LPIPS.from_pretrained("alex")
    video = torch.randint(0, 256, (3, 16, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = search_clips(mini, video, lpips)
    keys = ("a:0", "a:1", "b:0")
    table = SearchTable(space, (0, 1, 2), keys, found.mse, found.lpips, torch.zeros(3, 4), {})
    clips: Any = SimpleNamespace(table=table, batches=video.split)
    reward = ProxyReward.fit(table.clip_lpips, space.costs)
    for strategy in final_tokenizers.strategies(space, 3, reward, table.clip_lpips.mean(0)[None]).values():
        own, searched = final_tokenizers.measured(mini, clips, strategy, lpips), Curve.measured(strategy, table)
        for name in ("tokens", "lpips", "psnr"):
            assert getattr(own, name) == pytest.approx(getattr(searched, name), rel=1e-4)


def test_a_budget_for_all_beats_one_for_every_mini_batch() -> None:
    table = searched(32)
    [row] = budgets.measure(table.clip_lpips, table.space, [48.0], batch=4, seed=0)
    assert row["LPIPS, whole set"] < row["LPIPS, program by 4"] and row["tokens, program by 4"] <= 48
    assert 0 <= row["at most above the optimum"] < 0.01 and row["tokens, price alone"] <= 48
    [whole] = budgets.measure(table.clip_lpips, table.space, [48.0], batch=32, seed=0)
    assert whole["LPIPS, program by 32"] <= row["LPIPS, whole set"]
    assert whole["LPIPS, program by 32"] >= row["LPIPS, whole set"] - row["at most above the optimum"] - 1e-9


def test_trials_are_judged_by_videos_that_none_was_trained_on() -> None:
    clips = [f"games:{game}/{seed}@{frame}+1" for game in "abcdefghij" for seed in (0, 1) for frame in (3, 9)]
    judging = [router_trials.judges(key) for key in clips]
    by_game = [judging[start : start + 4] for start in range(0, len(clips), 4)]
    assert all(len(set(each)) == 1 for each in by_game) and 0 < sum(judging) < len(clips)


def test_a_trial_trains_a_router_and_has_its_percentiles(
    tmp_path: Path, video_folder: Path, mini: VideoTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mini.save_pretrained(tmp_path / "mini")
    sources: list = [FolderConfig(str(video_folder))]
    search(SearchConfig(str(tmp_path / "mini"), sources, str(tmp_path / "search"), clips=6, size=(32, 32)))
    clips = SearchedClips(tmp_path / "search")
    model = RouterConfig(levels=(4, 8), side=16, transformer=TransformerConfig(32, 1, 2))
    loop = LoopConfig(steps=2, precision="no", tracker="none")
    config = RouterTrainingConfig("unused", "unused", model=model, loop=loop, batch=2)
    monkeypatch.setitem(router_trials.TRIALS, "mini", {"model": {"head": "regression"}})
    row = router_trials.trial("mini", config, clips.only([0, 1, 2, 3]), clips.only([4, 5]))
    cheap = router_trials.cheap(clips.table.rows([0, 1, 2, 3]), clips.table.rows([4, 5]))
    assert [each["predictor"] for each in cheap] == ["best uniform", "mean", "motion", "error"]
    assert all(0 <= each["percentile at 1.2"] <= 100 for each in [row, *cheap]) and row["ms a clip"] > 0


def test_savings_are_between_nothing_by_the_mean_and_all_by_the_tables_themselves() -> None:
    training, truth = searched(40), searched(30)
    held_out = SimpleNamespace(table=truth)
    judge = router_scaling.Judge(training, held_out, 10)  # type: ignore[arg-type]  # no frame is looked at
    rows = [judge.row(name, table) for name, table in {"search": truth.clip_lpips, "mean": judge.cheap["mean"]}.items()]
    assert rows[0]["of the search's, %"] == pytest.approx(100) and rows[0]["percentile at 1.2"] == pytest.approx(100)
    assert rows[1]["saved, %"] == pytest.approx(0, abs=1e-9) and rows[1]["percentile at 1.2"] < 100
    assert rows[0]["saved, %"] == pytest.approx(rows[0]["made"]) and rows[0]["from"] < rows[0]["to"]


def test_a_router_learns_from_clips_of_which_little_was_measured(
    tmp_path: Path, video_folder: Path, mini: VideoTokenizer
) -> None:
    mini.save_pretrained(tmp_path / "mini")
    sources: list = [FolderConfig(str(video_folder))]
    thinned = SearchConfig(
        str(tmp_path / "mini"), sources, str(tmp_path / "search"), clips=70, size=(32, 32), paths=1, whole=64
    )
    search(thinned)
    clips = SearchedClips(tmp_path / "search")
    model = RouterConfig(levels=(4, 8), side=16, transformer=TransformerConfig(32, 1, 2))
    optimizer = OptimizerConfig(lr=5e-3, warmup=0)
    loop = LoopConfig(steps=30, precision="no", tracker="none")
    config = RouterTrainingConfig(
        "unused", "unused", model=model, loop=loop, batch=35, optimizer=optimizer, augment=0.0, ema_decay=None
    )
    task = RouterTask(config, clips, None)
    [(_, before)] = task.losses(0, Item(task.batches[0], 0))
    router = router_scaling.trained(config, clips)
    with torch.no_grad():
        task.trained["router"].network.load_state_dict(router.network.state_dict())
        [(_, after)] = task.losses(0, Item(task.batches[0], 0))
    assert after["error"] + after["shape"] < 0.95 * (before["error"] + before["shape"])
    assert router.calibration.prices and router.calibration.beams
    row = router_scaling.Judge(clips.table, clips.whole, 5).router_row("router", router)
    assert 0 < row["percentile at 1.2"] <= 100


def test_a_shifted_copy_shows_the_same_pixels_elsewhere() -> None:
    frames = torch.arange(2 * 3 * 8 * 9, dtype=torch.uint8).view(2, 3, 8, 9)
    shifted = routing_ceiling.shifted(frames)
    assert shifted.shape == frames.shape and shifted[..., 2:, 3:].equal(frames[..., :-2, :-3])
    assert shifted[..., 1, 2].equal(frames[..., 1, 1]) and shifted[..., 0, 0].equal(frames[..., 2, 3])
    assert routing_ceiling.COPIES["mirrored and shifted"](frames)[..., 2, 3].equal(frames[..., 0, -1])


def test_clips_are_spread_evenly_over_each_source() -> None:
    assert routing_ceiling.spread(["a"] * 4 + ["b"] * 6, 2) == [0, 2, 4, 7]
    with pytest.raises(ValueError, match="a has 4 clips, fewer than the 5"):
        routing_ceiling.spread(["a"] * 4 + ["b"] * 6, 5)


def test_picks_by_the_table_of_the_clip_itself_save_what_the_search_saves() -> None:
    table = searched(40)
    reward = ProxyReward.fit(table.clip_lpips, table.space.costs)
    mean, own = table.clip_lpips.mean(0).expand(40, -1), table.clip_lpips
    groups = {"all": list(range(40)), "some": [0, 1, 2]}
    noise = 0.05 * torch.rand(own.shape, generator=torch.Generator().manual_seed(1))
    rows = routing_ceiling.measure(table, reward, mean, {"itself": own, "near": own + noise, "mean": mean}, groups, 20)
    assert [row["picks by"] for row in rows] == ["search", "itself", "near", "mean"]
    search, itself, near, fixed = rows
    assert {**itself, "picks by": "search"} == search and search["from"] < search["all, saved %"] < search["to"]
    assert 0 < near["of the search's"] < 1 == search["of the search's"]
    assert fixed["all, saved %"] == pytest.approx(0, abs=1e-9) and search["some, saved %"] > 0


def test_copies_are_searched_once_and_only_by_the_tokenizer_of_the_clips(
    tmp_path: Path, video_folder: Path, mini: VideoTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mini.save_pretrained(tmp_path / "mini")
    sources: list = [FolderConfig(str(video_folder))]
    search(SearchConfig(str(tmp_path / "mini"), sources, str(tmp_path / "search"), clips=2, size=(32, 32)))
    clips, tokenizer = SearchedClips(tmp_path / "search"), VideoTokenizer.from_pretrained(tmp_path / "mini")
    monkeypatch.setitem(routing_ceiling.COPIES, "shifted", lambda frames: frames)
    tables = routing_ceiling.search_copies(tokenizer, clips, tmp_path / "copies")
    torch.testing.assert_close(tables["shifted"], clips.table.clip_lpips, rtol=0, atol=1e-4)
    assert (tables["mirrored"] - clips.table.clip_lpips).abs().max() > 1e-3
    (tmp_path / "copies" / "clip-00001.parquet").unlink()
    seen = []

    def counted(network: TokenizerNetwork, video: torch.Tensor, lpips: LPIPS) -> BlockValues:
        seen.append(video)
        return search_clips(network, video, lpips)

    monkeypatch.setattr(routing_ceiling, "search_clips", counted)
    again = routing_ceiling.search_copies(tokenizer, clips, tmp_path / "copies")
    assert [len(video) for video in seen] == [3] and seen[0][1].equal(clips.frames(1))
    assert all(torch.allclose(again[name], tables[name], atol=1e-5) for name in tables)
    monkeypatch.setattr(routing_ceiling, "DOWN", 1)
    with pytest.raises(ValueError, match="copies holds copies of other clips or by other shifts"):
        routing_ceiling.search_copies(tokenizer, clips, tmp_path / "copies")
    with pytest.raises(ValueError, match="the clips were searched with"):
        routing_ceiling.search_copies(VideoTokenizer.from_pretrained("evatok-tiny-proxy"), clips, tmp_path / "copies")


def test_twins_are_compared_under_what_each_is_for(video_folder: Path) -> None:
    tokenizer = routed()
    [video] = long_clips.long_videos([FolderConfig(str(video_folder))], 2, 32, 16).values()
    asked = twins.kinds(tokenizer, video[0], [0.5, 1.9])
    assert list(asked["uniform twin", "uniform"]) == [4, 8] and asked["own", "beam 2"][1.9] == {"w_q": 1.9, "beam": 2}
    with torch.no_grad():
        own = twins.numbers(tokenizer, LPIPS.from_pretrained("alex"), video, asked["own", "uniform"])
    assert own[:, :, 0].tolist() == [[16, 16], [32, 32]]
    shown = tokenizer.decode(tokenizer.encode(video, uniform=8))
    assert own[1, :, 3] == pytest.approx(-clip_psnr(video, shown).double().numpy(), rel=1e-6)
    # Made up: what the router reaches takes uniform lengths four times as many tokens, and fixed ones twice as many.
    tokens, quality = np.array([16, 32, 64]), np.array([3.0, 2.0, 1.0])
    made: twins.Settings = {16: {}, 32: {}, 64: {}}
    settings = dict.fromkeys(asked, made)
    cost = {("own", "uniform"): 4, ("own", "fixed"): 2, ("uniform twin", "uniform"): 4, ("fixed twin", "fixed"): 2}
    found = {
        kind: np.repeat(np.stack([cost.get(kind, 1) * tokens, *[quality] * 3], 1)[:, None], 2, 1) for kind in asked
    }
    found["own", "router"][..., 2] -= 1  # and moved by two pixels it is as good as they are at twice as many again
    rows = {(row["lengths by"], row["over"]): row for row in twins.compared(found, settings, draws=5)}
    assert len(rows) == 12
    for by, over, judge, saved in (
        ("router", "uniform twin by uniform", "LPIPS", 75),
        ("router", "own by fixed", "PSNR", 50),
        ("router", "fixed twin by fixed", "LPIPS moved", 75),
        ("beam 2", "fixed twin by fixed", "LPIPS moved", 50),
    ):
        assert rows[by, over][f"saved at equal {judge}, %"] == pytest.approx(saved, abs=1e-6)
    assert twins.points(found, settings)[0] == {
        "by": "own by router", "setting": 16, "tokens": 16, "LPIPS": 3, "LPIPS moved": 2, "minus PSNR": 3,
    }  # fmt: skip
