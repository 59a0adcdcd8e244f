"""Stage 3 on searched mini clips: it learns, resumes to the same weights, and leaves a calibrated router."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evatok.allocation.rules import Price
from evatok.data.clips import ClipBatch
from evatok.data.folders import FileConfig, FolderConfig
from evatok.evaluation.routing import routing_scores
from evatok.losses.routing import RoutingLossConfig
from evatok.nn.transformer import TransformerConfig
from evatok.router.config import BlockwiseConfig, RouterConfig
from evatok.router.model import Router
from evatok.stages.router import RouterTask, RouterTrainingConfig, train_router
from evatok.stages.search.dataset import SearchedClips, augmented
from evatok.stages.search.parts import SearchConfig, open_clips
from evatok.stages.search.run import search
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.checkpoints import checkpoints
from evatok.training.loop import LoopConfig
from evatok.training.optimizers import OptimizerConfig
from tests.runs import differing_files


@pytest.fixture
def searched(tmp_path: Path, video_folder: Path, mini: VideoTokenizer) -> SearchConfig:
    """A search of 6 clips."""
    mini.save_pretrained(tmp_path / "mini")
    return SearchConfig(
        tokenizer=str(tmp_path / "mini"),
        sources=[FolderConfig(str(video_folder))],
        folder=str(tmp_path / "search"),
        clips=6,
        size=(32, 32),
        part=4,
    )


@pytest.fixture
def config(tmp_path: Path, searched: SearchConfig) -> RouterTrainingConfig:
    """A run of 8 steps on 6 searched clips; 3 of another video are held out."""
    search(searched)
    held_out: list = [FileConfig(str(tmp_path / "held_out.mkv"))]
    search(replace(searched, sources=held_out, folder=str(tmp_path / "held_out"), drawn="held_out", clips=3))
    return RouterTrainingConfig(
        folder=str(tmp_path / "run"),
        train=str(tmp_path / "search"),
        validation=str(tmp_path / "held_out"),
        model=RouterConfig(levels=(4, 8), side=16, transformer=TransformerConfig(32, 1, 2)),
        loss=RoutingLossConfig(error=1, shape=1, soft=0.1, regret=1),
        optimizer=OptimizerConfig(lr=3e-3, warmup=2),
        loop=LoopConfig(steps=8, precision="no", log_every=4, validate_every=8, checkpoint_every=4),
        batch=4,
        keep_patches=0.5,
        ema_decay=0.9,
    )


def test_frames_are_those_that_were_searched(searched: SearchConfig) -> None:
    search(searched)
    clips = SearchedClips(Path(searched.folder))
    again: list[ClipBatch] = [open_clips(searched, 16)[place] for place in clips.table.places]
    assert [batch.keys[0] for batch in again] == list(clips.table.keys)
    assert all(torch.equal(clips.frames(row), batch.video[0]) for row, batch in enumerate(again))
    assert [len(video) for video in clips.batches(4)] == [4, 2]


def test_a_batch_of_more_clips_than_were_searched_is_told(
    config: RouterTrainingConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "evatok")
    task = RouterTask.opened(replace(config, batch=6))
    assert not caplog.records and len(task.batches[0]) == 6
    task = RouterTask.opened(replace(config, batch=10**12))
    assert [each.message for each in caplog.records] == [
        "batch is 1000000000000, and 6 clips were searched: every batch has them all"
    ]
    assert len(task.batches[0]) == 6 and task.report(0) == {"epochs": 1}


def test_a_searched_folder_is_read_and_not_written(config: RouterTrainingConfig) -> None:
    folder = Path(config.train)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    list(SearchedClips(folder).batches(4))
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_augmented_clips_have_the_same_edges_and_motion() -> None:
    frames = torch.randint(0, 256, (16, 3, 8, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert torch.equal(augmented(frames, 0.0, np.random.default_rng(0)), frames)
    changed = augmented(frames, 1.0, np.random.default_rng(0))
    back = 255 - changed.flip(-1, -2)
    channels = [next(c for c in range(3) if torch.equal(back[:, channel], frames[:, c])) for channel in range(3)]
    assert sorted(channels) == [0, 1, 2]
    kinds = {augmented(frames, 0.5, np.random.default_rng(seed)).numpy().tobytes() for seed in range(100)}
    assert len(kinds) > 20


def test_some_of_the_clips_keep_frames_and_values_together(config: RouterTrainingConfig) -> None:
    clips = SearchedClips(Path(config.train))
    some = clips.only([5, 0, 3]).only([1, 0])
    assert some.table.keys == (clips.table.keys[0], clips.table.keys[5]) and len(some) == 2
    assert torch.equal(torch.cat(list(some.batches(2))), torch.stack([clips.frames(0), clips.frames(5)]))
    assert torch.equal(some.table.lpips, clips.table.lpips[[0, 5]])


@pytest.fixture
def blockwise(config: RouterTrainingConfig) -> RouterTrainingConfig:
    """The same run of a router that measures."""
    model = replace(config.model, blockwise=BlockwiseConfig(32, 8))
    return replace(config, model=model, loss=RoutingLossConfig(error=1, shape=1), keep_patches=1.0, augment=0.0)


def test_a_blockwise_router_learns_and_resumes_to_the_same_weights(
    blockwise: RouterTrainingConfig, tmp_path: Path
) -> None:
    task, table = RouterTask.opened(blockwise), SearchedClips(Path(blockwise.train)).table
    video = torch.cat([*SearchedClips(Path(blockwise.train)).batches(6)])
    loop = replace(blockwise.loop, steps=400, validate_every=400, checkpoint_every=200)
    whole, parts = (replace(blockwise, folder=str(tmp_path / name), loop=loop) for name in ("whole", "parts"))
    output = Router.from_pretrained(train_router(whole))._outputs(video)
    # The mean table has an error of 1, by definition.
    assert task.loss(output, table.lpips, torch.Generator())["error"].item() < 0.5
    train_router(parts)
    shutil.rmtree(checkpoints(tmp_path / "parts" / "checkpoints")[-1])
    train_router(parts, resume=True)
    assert differing_files(tmp_path / "whole", tmp_path / "parts") == []


def test_what_means_nothing_to_a_blockwise_router_is_refused(blockwise: RouterTrainingConfig) -> None:
    with pytest.raises(ValueError, match=r"keep_patches must be 1 for a blockwise router, which has none, got 0.5"):
        replace(blockwise, keep_patches=0.5)
    with pytest.raises(ValueError, match=r"augment must be 0 for a blockwise router, .* got 0.5"):
        replace(blockwise, augment=0.5)


def test_it_learns_what_can_be_seen(config: RouterTrainingConfig, tmp_path: Path) -> None:
    config = replace(config, loop=replace(config.loop, steps=150, validate_every=150, checkpoint_every=150))
    config = replace(config, keep_patches=1.0, augment=0.0)
    task = RouterTask.opened(config)
    clips = SearchedClips(Path(config.train))
    video = torch.stack([clips.frames(row) for row in range(6)])
    output = Router.from_pretrained(train_router(config))._outputs(video)
    error = task.loss(output, clips.table.lpips, torch.Generator())["error"].item()
    # The mean table has an error of 1, by definition.
    assert error < 0.5


def test_resumed_training_ends_with_the_same_weights(config: RouterTrainingConfig, tmp_path: Path) -> None:
    train_router(config)
    parts = replace(config, folder=str(tmp_path / "parts"))
    train_router(parts)
    shutil.rmtree(checkpoints(tmp_path / "parts" / "checkpoints")[-1])
    train_router(parts, resume=True)
    assert differing_files(tmp_path / "run", tmp_path / "parts") == []


def test_a_checkpoint_has_a_router_and_a_resume_names_what_changed(
    config: RouterTrainingConfig, caplog: pytest.LogCaptureFixture
) -> None:
    final = Router.from_pretrained(train_router(config))
    middle, end = (path / "export" for path in checkpoints(Path(config.folder) / "checkpoints"))
    assert Router.from_pretrained(end).config == final.config and Router.from_pretrained(end).checksum == final.checksum
    router = Router.from_pretrained(middle)
    assert router.checksum != final.checksum and router.calibration.tokens[-1] == 16
    assert json.loads((middle / "training.json").read_text())["steps"] == 4
    with pytest.raises(ValueError, match=r"model\.transformer\.depth: 1, now 2"):
        train_router(replace(config, model=replace(config.model, transformer=TransformerConfig(32, 2, 2))), resume=True)
    train_router(replace(config, batch=3, loop=replace(config.loop, steps=9)), resume=True)
    [warning] = [record.getMessage() for record in caplog.records if "other values" in record.getMessage()]
    assert "batch: 4, now 3" in warning and "loop.steps: 8, now 9" in warning


def test_what_it_leaves_knows_preferences_and_budgets(config: RouterTrainingConfig) -> None:
    router = Router.from_pretrained(train_router(config))
    table = SearchedClips(Path(config.train)).table
    assert router.calibration.reward.lpips_mean == pytest.approx(table.clip_lpips.double().mean().item())
    assert router.calibration.tokens[-1] == 16 and router.price_for(16) > 0
    assert router(torch.zeros(1, 16, 3, 32, 32), w_q=0.01).tolist() == [[4, 4, 4, 4]]


def test_it_knows_by_which_network_its_clips_were_searched(config: RouterTrainingConfig, tmp_path: Path) -> None:
    clips = SearchedClips(Path(config.train))
    clips.table = replace(clips.table, made_by={**clips.table.made_by, "lpips_net": "vgg"})
    for task, lpips_net in ((RouterTask.opened(config), "alex"), (RouterTask(config, clips, None), "vgg")):
        task.save(tmp_path / lpips_net)
        assert Router.from_pretrained(tmp_path / lpips_net).calibration.lpips_net == lpips_net


def test_the_papers_classification_trains_too(config: RouterTrainingConfig) -> None:
    loss = RoutingLossConfig(error=0, shape=0, hard=1, w_q=(1.2, 1.2))
    config = replace(config, model=replace(config.model, head="classification"), loss=loss)
    scalars = RouterTask.opened(config).validate(0).scalars
    assert scalars.keys() == {"percentile", "percentile/1.2"}
    router = Router.from_pretrained(train_router(config))
    assert router(torch.zeros(2, 16, 3, 32, 32)).shape == (2, 4)
    with pytest.raises(ValueError, match=r"loss\.w_q is"):
        replace(config, w_q=1.4)


def test_validation_starts_at_the_mean_table(config: RouterTrainingConfig) -> None:
    task = RouterTask.opened(config)
    scalars = task.validate(0).scalars
    assert task.held_out is not None
    truth, space = task.held_out.table.clip_lpips, config.model.space
    mean = SearchedClips(Path(config.train)).table.clip_lpips.mean(0, keepdim=True)
    for w_q in (0.4, 1.2, 2.0):
        pick = Price(task.reward.price(w_q)).pick(mean, space).expand(len(truth))
        expected = routing_scores(truth, space, task.reward, w_q, pick).percentile
        assert scalars[f"percentile/{w_q:g}"] == pytest.approx(expected, abs=1e-3)


def test_searches_that_do_not_belong_together_are_refused(config: RouterTrainingConfig) -> None:
    with pytest.raises(ValueError, match="2 videos of validation are in training"):
        RouterTask.opened(replace(config, validation=config.train))
    with pytest.raises(ValueError, match="must be those of the search"):
        RouterTask.opened(replace(config, model=replace(config.model, levels=(4, 16))))
    with pytest.raises(ValueError, match="must be the 16 frames"):
        RouterTask.opened(replace(config, model=replace(config.model, patch=(2, 8, 8))))
    with pytest.raises(ValueError, match="keep_patches must be above 0"):
        replace(config, keep_patches=0.0)
