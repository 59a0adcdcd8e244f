"""Clips prepared beforehand, and training by updates that are captured once and replayed."""

import gc
import json
import math
import sys
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from itertools import count, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from benchmarks import captured, common, prepared, steps
from benchmarks.captured import CapturedTraining
from benchmarks.prepared import PreparedClips, prepare
from evatok.losses.reconstruction import ReconstructionLoss
from evatok.nn.packed import Layout
from evatok.stages.codebook import CodebookConfig
from evatok.stages.proxy import ProxyConfig, ProxyTask
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.optimizers import build_optimizers
from evatok.training.task import Item
from evatok.video.fit import to_signed
from tests.conftest import IN_PASSES, MINI
from tests.graphs import RecordedGraph, record_graphs
from tests.runs import mini_config

CPU = torch.device("cpu")
GROUP = 2
# Fitting a sketch takes time by the size of a patch.
MODEL = replace(IN_PASSES, patch=(4, 4, 4))


def write_clips(folder: Path, count: int, height: int = 32, width: int = 32) -> Tensor:
    """Clips of 16 frames: the left half of clip `i` is all `i`, the right half noise of 128 and more."""
    generator = torch.Generator().manual_seed(width)
    clips = torch.randint(128, 256, (count, 16, 3, height, width), generator=generator, dtype=torch.uint8)
    clips[..., : width // 2] = torch.arange(count, dtype=torch.uint8)[:, None, None, None, None]
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{height}x{width}.npy", clips.numpy())
    return clips


@pytest.fixture
def clips(tmp_path: Path) -> PreparedClips:
    """Six clips of 32 x 32 and four of 32 x 40."""
    write_clips(tmp_path / "clips", 6)
    write_clips(tmp_path / "clips" / "wide", 4, width=40)
    return PreparedClips(tmp_path / "clips", GROUP, 0, CPU)


@pytest.fixture
def config(tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> ProxyConfig:
    """A config for captured updates, which are recorded on the CPU, in float32, and looked at every other time."""
    record_graphs(monkeypatch)
    monkeypatch.setattr(captured, "new_accelerator", lambda precision: steps.new_accelerator("no"))
    for name, number in {"PROBE": 1, "LOOK": 2, "TURNS": 1}.items():
        monkeypatch.setattr(captured, name, number)
    config = mini_config(tmp_path / "run", video_folder, accumulate=1)
    return replace(
        config,
        model=MODEL,
        codebook=CodebookConfig(warmup=0, window=100, groups=2),
        loss=replace(config.loss, perceptual_frames=0, sketch=1.0),
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_prepared_are_the_clips_of_the_config(
    workers: int, tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, ticks = mini_config(tmp_path / "run", video_folder).data, count()
    monkeypatch.setattr(prepared, "GROUP", 3)
    monkeypatch.setattr(prepared, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    counts = prepare(data, 5, 6.5, workers, tmp_path / "new" / "clips")
    groups, _ = replace(data, group=3, validation=[]).open(5)
    wanted: dict[str, list[Tensor]] = {"32x32": [], "32x40": []}
    for video in (groups[i].video for i in range(7)):
        wanted[f"32x{video.shape[-1]}"].append(video)
    assert all(wanted.values()) and counts == {size: 3 * len(parts) for size, parts in wanted.items()}
    assert {path.name for path in (tmp_path / "new" / "clips").iterdir()} == {"32x32.npy", "32x40.npy"}
    for size, parts in wanted.items():
        found = np.load(tmp_path / "new" / "clips" / f"{size}.npy")
        assert found.dtype == np.uint8 and np.array_equal(found, torch.cat(parts).numpy())


def test_items_are_a_function_of_seed_and_index(tmp_path: Path, clips: PreparedClips) -> None:
    again, other = (PreparedClips(tmp_path / "clips", GROUP, seed, CPU) for seed in (0, 1))
    assert len(clips) == 10
    _ = again[4]
    mine, same, others = ([each[i].video for i in range(20)] for each in (clips, again, other))
    assert all(map(torch.equal, mine, same)) and not all(map(torch.equal, mine, others))
    assert len({video.numpy().tobytes() for video in mine}) > 15


def test_items_are_prepared_clips_mirrored_or_not(clips: PreparedClips) -> None:
    met = {32: set[tuple[int, bool]](), 40: set[tuple[int, bool]]()}
    widths = []
    for index in range(300):
        batch = clips[index]
        width = batch.video.shape[-1]
        assert len(batch) == len(batch.video) == len(batch.labels) == GROUP
        widths.append(width)
        for clip in batch.video:
            mirrored = bool(clip[0, 0, 0, 0] >= 128)
            upright = clip.flip(-1) if mirrored else clip
            number = int(upright[0, 0, 0, 0])
            assert torch.equal(upright, clips.videos[0 if width == 32 else 1][number])
            met[width].add((number, mirrored))
    both = (False, True)
    assert met == {32: set(product(range(6), both)), 40: set(product(range(4), both))}
    # Six clips of ten are 32 wide.
    assert widths.count(32) == pytest.approx(180, abs=30)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [({}, "holds no prepared clips"), ({32: 4, 40: 1}, "32x40.npy holds 1 clips, fewer than a group of 2")],
)
def test_too_few_prepared_clips_are_refused(numbers: dict[int, int], message: str, tmp_path: Path) -> None:
    for width, number in numbers.items():
        write_clips(tmp_path, number, width=width)
    with pytest.raises(ValueError, match=message):
        PreparedClips(tmp_path, GROUP, 0, CPU)


def started(config: ProxyConfig, clips: PreparedClips) -> VideoTokenizer:
    """The tokenizer before the first update, as `evatok train proxy` starts it."""
    torch.manual_seed(config.loop.seed)
    task = ProxyTask(config)
    task.batches = clips
    seed = config.loop.seed
    task.before_step(0, [Item(clips[0], seed)], torch.Generator().manual_seed(seed))
    return task.trained["tokenizer"].network


def learn(
    network: VideoTokenizer, config: ProxyConfig, batches: list[tuple[Tensor, Layout]], rates: list[float]
) -> dict[str, Tensor]:
    """Plain updates at these rates; returns the average of the weights."""
    loss, optimizers = ReconstructionLoss(config.loss), build_optimizers(network, config.optimizer)
    average: dict[str, Tensor] = {}
    for step, ((clips, layout), rate) in enumerate(zip(batches, rates, strict=True)):
        video = to_signed(clips)
        output = network(video, layout, True)
        terms = loss(output.video, video, torch.Generator(), output.sketch) | output.losses
        network.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.optimizer.max_grad_norm)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["peak_lr"]
            optimizer.step()
        share = min(0.9, (1 + step) / (10 + step)) if step else 0.0
        weights = {name: weight.detach().clone() for name, weight in network.named_parameters()}
        average = {name: share * average.get(name, weight) + (1 - share) * weight for name, weight in weights.items()}
    return average


def test_captured_updates_are_plain_updates(config: ProxyConfig, clips: PreparedClips) -> None:
    training, network = CapturedTraining(config, clips, 3), started(config, clips)
    # Shared out by clips, and in every mix each clip has an assignment of its own.
    assert {size: len(several) for size, several in training.captured.items()} == {(32, 32): 2, (32, 40): 1}
    layouts = {each.layout for several in training.captured.values() for each in several}
    assert len(layouts) == 3 and any(len(set(layout.lengths)) == GROUP for layout in layouts)
    before = deepcopy(network)
    used = [training.update(step, 8).layout for step in range(6)]
    # A warm-up of 2 steps, then a cosine down to 0.01 at step 8.
    rates = [0.5, 1.0, *(0.01 + 0.99 * (1 + math.cos(math.pi * step / 6)) / 2 for step in range(4))]
    average = learn(network, config, [(clips[step].video, used[step]) for step in range(6)], rates)
    assert len(set(used)) > 1
    found, moved = training.trained.network.state_dict(), 0
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=1e-5)
        moved += int((weight - before.state_dict()[name]).abs().max() > 1e-3)
    assert moved > 10
    averaged = training.trained.averaged().state_dict()
    for name, weight in average.items():
        torch.testing.assert_close(averaged[name], weight, rtol=1e-4, atol=1e-5)


def test_codes_are_counted_by_replays_alone(config: ProxyConfig, clips: PreparedClips) -> None:
    training = CapturedTraining(replace(config, model=MINI, codebook=replace(config.codebook, window=2)), clips, 3)
    assert training.task.use.counts.sum() == 0
    sizes = [training.update(step, 8).layout.size for step in range(5)]
    # Two windows of two updates are over; of the third there is one.
    assert training.task.use.window.sum() == sizes[2] + sizes[3]
    assert training.task.use.counts.sum() == sizes[4]


def test_tables_that_a_graph_reads_are_kept(config: ProxyConfig, clips: PreparedClips) -> None:
    training = CapturedTraining(config, clips, 2)
    one = training.captured[32, 32][0]
    graph = cast(RecordedGraph, one._graph)
    read = [StorageWeakRef(storage) for storage in graph.inputs()]
    graph.operations.clear()
    for name in ("groups_of", "places_of", "varlen_tables", "shares_of", "rows_of_books", "level_numbers"):
        getattr(captured, name).cache_clear()
    gc.collect()
    assert len(read) > 50 and not any(each.expired() for each in read)
    one._tables.clear()
    gc.collect()
    assert sum(each.expired() for each in read) > 10


def test_tables_that_would_not_be_kept_are_refused(
    config: ProxyConfig, clips: PreparedClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tables of its own, not those that the network reads.
    monkeypatch.setattr(captured, "shares_of", lru_cache(maxsize=16)(captured.shares_of.__wrapped__))
    with pytest.raises(RuntimeError, match="tables that were not kept"):
        CapturedTraining(replace(config, model=MINI), clips, 2)


def test_a_loss_that_is_not_finite_ends_the_training(config: ProxyConfig, clips: PreparedClips) -> None:
    training = CapturedTraining(replace(config, model=MINI), clips, 2)
    with torch.no_grad():
        training.weights[0].fill_(torch.nan)
    with pytest.raises(FloatingPointError, match=r"a loss is not finite: .*'l1': nan"):
        list(captured.train(training, 0.0))


def test_a_run_leaves_the_averaged_tokenizer(
    config: ProxyConfig, clips: PreparedClips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[CapturedTraining] = []

    def remembered(*args: Any) -> CapturedTraining:
        trainings.append(CapturedTraining(*args))
        return trainings[-1]

    monkeypatch.setattr(captured, "CapturedTraining", remembered)
    # As many as there must be at least: two that measure the rate, and one.
    made = captured.run(config, clips, 2, 0.0)
    assert (made["steps"], made["clips"], made["prepared_clips"], made["mixes"]) == (3, 3 * GROUP, 10, 2)
    assert [row["step"] for row in made["losses"]] == [3] and made["losses"][0]["lpips"] > 0
    assert [(row["size"], row["mixes"]) for row in made["replays"]] == [("32x32", 1), ("32x40", 1)]
    for row in made["replays"]:
        assert row["uncaptured, ms"] > 0 and row["replayed, ms"] > 0 and 0 <= row["error"] < 1e-4
    assert json.loads((tmp_path / "run" / "final" / "training.json").read_text())["config"]["model"]["levels"] == [4, 8]
    saved = VideoTokenizer.from_pretrained(tmp_path / "run" / "final").state_dict()
    for name, weight in trainings[0].trained.averaged().state_dict().items():
        torch.testing.assert_close(saved[name], weight.half().to(saved[name].dtype), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("codebook", {"warmup": 3}, "codebook.warmup must be 0 .* got 3"),
        ("loop", {"accumulate": 2}, "loop.accumulate must be 1 .* got 2"),
        ("loss", {"perceptual_frames": 2}, "loss.perceptual_frames must be 0 .* got 2"),
        ("loss", {"perceptual_start": 2}, "loss.perceptual_start must be 0 .* got 2"),
        ("optimizer", {"warmup": 1}, "optimizer.warmup must be at least 2, .* got 1"),
    ],
)
def test_what_would_change_in_the_course_of_a_training_is_refused(
    name: str, value: dict[str, int], message: str, config: ProxyConfig, clips: PreparedClips
) -> None:
    changed = replace(config, model=MINI, **{name: replace(getattr(config, name), **value)})
    with pytest.raises(ValueError, match=message):
        CapturedTraining(changed, clips, 2)


def test_the_config_of_mini_may_be_captured() -> None:
    captured._check(common.read_config(ProxyConfig, ["--config=configs/mini/proxy.yaml"]))
    assert captured.PROBE == 60


def test_without_a_gpu_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["captured", "--config", "configs/mini/proxy.yaml", "--clips", "clips"])
    with pytest.raises(SystemExit, match="2"):
        captured.main()
    assert "captured updates need a GPU" in capsys.readouterr().err
