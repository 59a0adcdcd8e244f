"""Stage 1 on mini videos: it learns, resumes to the same weights, and leaves a tokenizer."""

import json
import re
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from evatok.assignment import AssignmentSpace
from evatok.data.folders import FolderConfig
from evatok.nn import transformer
from evatok.nn.packed import Layout
from evatok.reports.card import TrainingRecord
from evatok.stages.codebook import CodebookConfig
from evatok.stages.data import DataConfig
from evatok.stages.lengths import draw_layout
from evatok.stages.proxy import ProxyConfig, ProxyTask, train_proxy
from evatok.stages.tokenizer import with_model_of_start
from evatok.tokenizer.config import FSQConfig
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.checkpoints import checkpoints
from evatok.training.task import Item
from tests.conftest import MINI, SKETCHED, random_tokenizer
from tests.runs import mini_config


def test_resumed_training_ends_with_the_same_weights(tmp_path: Path, video_folder: Path) -> None:
    whole = train_proxy(mini_config(tmp_path / "whole", video_folder))
    config = mini_config(tmp_path / "parts", video_folder)
    train_proxy(config)
    last = checkpoints(tmp_path / "parts" / "checkpoints")
    assert [path.name for path in last] == ["step_00000004", "step_00000008"]
    weights = load_file(whole / "model.safetensors")
    # As if it had been killed after step 4.
    for path in sorted(last[1].rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    last[1].rmdir()
    resumed = train_proxy(config, resume=True)
    again = load_file(resumed / "model.safetensors")
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    record = TrainingRecord.read(resumed / "training.json")
    assert (record.steps, record.clips, record.skipped, record.seed) == (8, 32, 0, 0)
    assert [(each["steps"], each["clips"]) for each in record.validations] == [(8, 32)]
    assert record.validations[0]["scalars"]["held_out/lpips/8"] > 0
    assert record.config["codebook"] == {"warmup": 3, "window": 2, "groups": 64}


def test_a_sketch_is_fitted_before_the_first_step_and_resumed(tmp_path: Path, video_folder: Path) -> None:
    def config(name: str) -> ProxyConfig:
        mini = mini_config(tmp_path / name, video_folder, checkpoint_every=4)
        return replace(mini, model=SKETCHED, codebook=CodebookConfig(warmup=0, window=2, groups=4))

    start = ProxyTask(config("run"))
    before = start.validate(0).scalars
    start.before_step(0, [], torch.Generator().manual_seed(0))
    after = start.validate(0).scalars
    assert all(after[name] < before[name] for name in before if "l1" in name)
    whole = train_proxy(config("run"))
    for path in checkpoints(tmp_path / "run" / "checkpoints")[1:]:
        rmtree(path)
    again = train_proxy(config("run"), resume=True)
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_without_an_average_the_weights_themselves_are_saved(tmp_path: Path, video_folder: Path) -> None:
    config = replace(mini_config(tmp_path, video_folder, steps=4), ema_decay=None)
    saved = load_file(train_proxy(config) / "model.safetensors")
    weights = load_file(checkpoints(tmp_path / "checkpoints")[-1] / "tokenizer.weights.safetensors")
    assert saved.keys() == weights.keys() and all(torch.equal(saved[name], weights[name]) for name in saved)


def test_a_sketch_takes_no_warmup(tmp_path: Path, video_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"codebook\.warmup must be 0 .* got 3"):
        replace(mini_config(tmp_path, video_folder), model=SKETCHED)


def test_lpips_joins_at_its_step_and_within_the_training(tmp_path: Path, video_folder: Path) -> None:
    config = mini_config(tmp_path, video_folder)
    task = ProxyTask(replace(config, loss=replace(config.loss, perceptual_start=5)))
    item = Item(task.batches[0], 0)
    assert ["lpips" in dict(task.losses(step, item))["tokenizer"] for step in (4, 5)] == [False, True]
    with pytest.raises(ValueError, match=r"must be below the 8 of loop\.steps, or LPIPS never joins; got 8"):
        replace(config, loss=replace(config.loss, perceptual_start=8))


def test_a_run_is_neither_overwritten_nor_resumed_by_mistake(tmp_path: Path, video_folder: Path) -> None:
    config = mini_config(tmp_path / "run", video_folder, steps=1)
    with pytest.raises(ValueError, match="no checkpoint to resume"):
        train_proxy(config, resume=True)
    train_proxy(config)
    with pytest.raises(ValueError, match="already holds a run"):
        train_proxy(config)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    for folder in (tmp_path / "run", tmp_path / "run" / "final"):
        before = (folder / "config.json").read_bytes()
        with pytest.raises(ValueError, match="final holds a model"):
            train_proxy(replace(config, folder=str(folder), init_from=str(tmp_path / "run" / "final")))
        assert (folder / "config.json").read_bytes() == before


def test_a_resume_names_what_changed_and_refuses_another_model(
    tmp_path: Path, video_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = mini_config(tmp_path / "run", video_folder, steps=2, checkpoint_every=2)
    train_proxy(config)
    others = {
        "model.side: 32, now 64": replace(config, model=replace(MINI, side=64)),
        'optimizer.kind: "muon", now "adamw"': replace(config, optimizer=replace(config.optimizer, kind="adamw")),
        "codebook.warmup: 3, now 1": replace(config, codebook=CodebookConfig(warmup=1, window=2)),
        "codebook.warmup: 3, now 0; init_from: null, now ": replace(config, init_from=str(tmp_path / "run" / "final")),
    }
    for named, other in others.items():
        with pytest.raises(ValueError, match=f"cannot be resumed by this config, .* another {named}"):
            train_proxy(other, resume=True)
    assert not any("other values" in record.getMessage() for record in caplog.records)
    longer = replace(config.loop, steps=4, validate_every=3)
    data = replace(config.data, train=[FolderConfig(str(video_folder), weight=2.0)])
    train_proxy(replace(config, loop=longer, data=data), resume=True)
    [warning] = [record.getMessage() for record in caplog.records if "other values" in record.getMessage()]
    assert [line.strip() for line in warning.splitlines()[1:]] == [
        "data.train.0.weight: 1.0, now 2.0",
        "loop.steps: 2, now 4",
        "loop.validate_every: 8, now 3",
    ]
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (written["from_step"], written["config"]["loop"]["steps"]) == (2, 4)
    assert [each["config"]["loop"]["steps"] for each in written["earlier"]] == [2]


def test_a_checkpoint_has_what_the_averaged_weights_are_by_then(tmp_path: Path, video_folder: Path) -> None:
    whole = train_proxy(mini_config(tmp_path / "run", video_folder, steps=8))
    middle, end = (path / "export" for path in checkpoints(tmp_path / "run" / "checkpoints"))
    record = TrainingRecord.read(middle / "training.json")
    assert (record.steps, record.clips, record.validations) == (4, 16, [])
    assert (end / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    tokenizer = VideoTokenizer.from_pretrained(middle)
    assert tokenizer.config == MINI
    assert tokenizer.checksum != VideoTokenizer.from_pretrained(whole).checksum
    saved = load_file(middle.parent / "tokenizer.average.safetensors")
    for name, weight in tokenizer.named_parameters():
        assert torch.equal(weight, saved[f"module.{name}"]), name
    memory = load_file(middle.parent / "task.safetensors")
    # Counted from step 3 on, when the codebook was drawn: every group has at least the fewest tokens.
    assert {name: tuple(counts.shape) for name, counts in memory.items()} == {"counts": (2, 64), "window": (2, 64)}
    assert memory["counts"].sum() >= 2 * 2 * 4 * 4 and not memory["window"].any()
    again = replace(mini_config(tmp_path / "again", video_folder, steps=1), init_from=str(middle))
    start = ProxyTask(again).trained["tokenizer"].network.state_dict()
    assert all(torch.equal(start[name], weight) for name, weight in tokenizer.state_dict().items())


def test_it_learns_and_what_it_leaves_can_be_loaded(tmp_path: Path, video_folder: Path) -> None:
    config = mini_config(
        tmp_path / "run", video_folder, steps=40, validate_every=40, checkpoint_every=40, precision="bf16"
    )
    before = ProxyTask(config).validate(0).scalars
    tokenizer = VideoTokenizer.from_pretrained(train_proxy(config))
    task = ProxyTask(config)
    task.trained["tokenizer"].network.load_state_dict(tokenizer.state_dict())
    after = task.validate(40).scalars
    improved = [name for name in before if "l1" in name]
    assert improved and all(after[name] < before[name] for name in improved)


def test_compiled_layers_train_to_the_same_weights(
    tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[int] = []

    def compile_layers(network: torch.nn.Module) -> None:
        compiled.append(1)
        transformer.compile_layers(network, backend="aot_eager")

    logged: list[dict[str, float]] = []
    monkeypatch.setattr("evatok.training.loop.compile_layers", compile_layers)
    monkeypatch.setattr("accelerate.Accelerator.log", lambda self, values, step: logged.append(values))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    weights = [
        load_file(train_proxy(mini_config(tmp_path / str(on), video_folder, compile=on)) / "model.safetensors")
        for on in (False, True)
    ]
    torch._dynamo.reset()
    assert len(compiled) == 1
    counts = [numbers["compiled"] for numbers in logged if "compiled" in numbers]
    # With gradients, and from step 3 on, where codes are drawn, without.
    assert len(counts) == 4 and counts[1] == counts[2] == counts[3] == 2 * counts[0] > 0
    for name, expected in weights[0].items():
        # Rounding may turn a first step of AdamW around, so single weights may differ by its length.
        assert (weights[1][name] - expected).abs().mean() < 1e-3, name


def test_finite_scalar_quantization_learns_too(tmp_path: Path, video_folder: Path) -> None:
    config = mini_config(tmp_path / "run", video_folder, steps=30, validate_every=30, checkpoint_every=30)
    config = replace(config, model=replace(MINI, quantizer=FSQConfig((8, 5, 5))))
    before = ProxyTask(config).validate(0).scalars
    tokenizer = VideoTokenizer.from_pretrained(train_proxy(config))
    task = ProxyTask(config)
    task.trained["tokenizer"].network.load_state_dict(tokenizer.state_dict())
    after = task.validate(30).scalars
    improved = [name for name in before if "l1" in name]
    assert improved and all(after[name] < before[name] for name in improved)
    assert tokenizer.config.quantizer == FSQConfig((8, 5, 5))


def layouts(device: str, clips: int, count: int) -> list[Layout]:
    return [draw_layout(MINI.space, clips, torch.Generator().manual_seed(seed), device) for seed in range(count)]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_assignments_are_uniform_over_the_space_and_follow_the_seed(device: str) -> None:
    drawn = layouts(device, 2, 400)
    assert drawn == layouts(device, 2, 400)
    for clip in range(2):
        rows = torch.tensor([layout.lengths[clip] for layout in drawn])
        assert set(rows.flatten().tolist()) == {4, 8}
        assert (((rows == 8).float().mean(0) - 0.5).abs() < 0.08).all()


def test_on_a_cpu_the_clips_of_a_group_share_an_assignment_and_on_cuda_each_has_its_own() -> None:
    assert all(len(set(layout.lengths)) == 1 and len(layout.lengths) == 6 for layout in layouts("cpu", 6, 50))
    pairs = [layout.lengths[0] == layout.lengths[1] for layout in layouts("cuda", 6, 800)]
    # Of 16 assignments: two clips meet in every sixteenth group.
    assert 30 < sum(pairs) < 70


def test_a_group_of_mixed_assignments_trains(
    tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Layout] = []

    def draw(space: AssignmentSpace, clips: int, generator: torch.Generator, device: str) -> Layout:
        drawn.append(draw_layout(space, clips, generator, "cuda"))
        return drawn[-1]

    monkeypatch.setattr("evatok.stages.lengths.draw_layout", draw)
    train_proxy(mini_config(tmp_path, video_folder))
    assert any(len(set(layout.lengths)) > 1 for layout in drawn)


def test_a_loss_that_is_not_finite_is_named(
    tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "evatok.losses.reconstruction.ReconstructionLoss.forward",
        lambda _, output, *__: {"l1": output.mean() * torch.nan},
    )
    with pytest.raises(FloatingPointError, match=r"step 0 loss/tokenizer/l1 is nan.*, with the clips videos:\d.mp4@\d"):
        train_proxy(mini_config(tmp_path / "run", video_folder))


def test_config_refuses_clips_of_another_length(tmp_path: Path, video_folder: Path) -> None:
    config = mini_config(tmp_path, video_folder)
    data = replace(config.data, clips=replace(config.data.clips, frames=12))
    with pytest.raises(ValueError, match="must be the model's 16, got 12"):
        replace(config, data=data)
    with pytest.raises(ValueError, match="names no source"):
        DataConfig()


def test_fine_tuning_starts_where_the_checkpoint_ended(tmp_path: Path, video_folder: Path) -> None:
    config = mini_config(tmp_path / "first", video_folder)
    ended = ProxyTask(replace(config, init_from=str(train_proxy(config)))).validate(0).scalars
    again = replace(config, folder=str(tmp_path / "again"), init_from=str(tmp_path / "first" / "final"))
    task = ProxyTask(again)
    start = deepcopy(task.trained["tokenizer"].network.state_dict())
    final = load_file(tmp_path / "first" / "final" / "model.safetensors")
    assert all(torch.equal(start[name], final[name]) for name in final)
    log = tmp_path / "again" / "log"
    train_proxy(again)
    [events] = log.rglob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(events)).Reload()
    first = {
        name: accumulator.Scalars(name)[0] for name in accumulator.Tags()["scalars"] if name.startswith("validation/")
    }
    assert first and all(event.step == 0 for event in first.values())
    assert {name: event.value for name, event in first.items()} == pytest.approx(
        {f"validation/{name}": value for name, value in ended.items()}, rel=1e-4
    )


def test_fine_tuning_keeps_the_codebook_and_quantizes_from_the_first_step(tmp_path: Path, video_folder: Path) -> None:
    config = mini_config(tmp_path / "first", video_folder)
    task = ProxyTask(replace(config, init_from=str(train_proxy(config))))
    items = [Item(task.batches[0], 0)]
    codebook = task.trained["tokenizer"].network.get_parameter("quantizer.codebook")
    before = codebook.detach().clone()
    task.before_step(0, items, torch.Generator())
    assert torch.equal(codebook, before)
    assert "commitment" in dict(task.losses(0, items[0]))["tokenizer"]


def test_fine_tuning_takes_the_model_as_it_is_whatever_the_config_says(
    tmp_path: Path, video_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, folder = mini_config(tmp_path / "first", video_folder, steps=1), tmp_path / "other"
    random_tokenizer(replace(SKETCHED, side=64)).save_pretrained(folder)
    made = train_proxy(replace(config, init_from=str(folder)))
    assert VideoTokenizer.from_pretrained(made).config == replace(SKETCHED, side=64)
    assert re.search(
        r"the model is that of .*other, whatever `model` says: side is 64, not 32; quantizer is", caplog.text
    )


def test_fine_tuning_may_let_patches_overlap(tmp_path: Path, video_folder: Path) -> None:
    config, folder = mini_config(tmp_path / "first", video_folder, steps=1), tmp_path / "other"
    random_tokenizer(SKETCHED).save_pretrained(folder)
    config = with_model_of_start(
        replace(config, model=replace(SKETCHED, overlap=2), codebook=CodebookConfig(0), init_from=str(folder))
    )
    network, start = ProxyTask(config).trained["tokenizer"].network, VideoTokenizer.from_pretrained(folder)
    video, layout = torch.rand(2, 16, 3, 32, 32) * 2 - 1, Layout.of([[4, 8, 4, 8], [8, 8, 4, 4]])
    assert network.config == replace(SKETCHED, overlap=2)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(video, layout).video, start(video, layout).video)
    made = train_proxy(config)
    assert VideoTokenizer.from_pretrained(made).get_parameter("decoder.frames.margins.linear.weight").any()
    # A start whose patches overlap keeps them so.
    kept = with_model_of_start(replace(config, model=SKETCHED, init_from=str(made)))
    assert kept.model.overlap == 2
