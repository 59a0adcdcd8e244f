"""Stage 1 on mini videos: it learns, resumes to the same weights, and leaves a tokenizer."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from evatok.data.clips import ClipSamplerConfig
from evatok.data.folders import FolderConfig
from evatok.data.sources import SourceConfig
from evatok.losses.reconstruction import ReconstructionLossConfig
from evatok.nn import transformer
from evatok.stages.data import DataConfig
from evatok.stages.proxy import CodebookConfig, ProxyConfig, ProxyTask, train_proxy
from evatok.tokenizer.config import FSQConfig
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.checkpoints import checkpoints
from evatok.training.loop import LoopConfig
from evatok.training.optimizers import OptimizerConfig
from tests.conftest import MINI


def config_of(folder: Path, videos: Path, **loop: Any) -> ProxyConfig:
    sources: list[SourceConfig] = [FolderConfig(folder=str(videos))]
    clips = ClipSamplerConfig(sizes=[(32, 32), (32, 40)], size_weights=[0.5, 0.5], steps=[1], step_weights=[1.0])
    return ProxyConfig(
        folder=str(folder),
        data=DataConfig(
            train=sources, validation=sources, clips=clips, group=2, validation_clips=2, validation_size=(32, 32)
        ),
        model=MINI,
        loss=ReconstructionLossConfig(network="alex", perceptual_frames=2),
        codebook=CodebookConfig(warmup=3, window=2),
        optimizer=OptimizerConfig(kind="muon", lr=3e-3, warmup=2),
        average=0.9,
        loop=replace(
            LoopConfig(steps=8, accumulate=2, precision="no", log_every=2, validate_every=8, checkpoint_every=4),
            **loop,
        ),
    )


def test_resumed_training_ends_with_the_same_weights(tmp_path: Path, video_folder: Path) -> None:
    whole = train_proxy(config_of(tmp_path / "whole", video_folder))
    config = config_of(tmp_path / "parts", video_folder)
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
    record = json.loads((resumed / "training.json").read_text())
    assert (record["steps"], record["clips"], record["seed"]) == (8, 32, 0)
    assert record["config"]["codebook"] == {"warmup": 3, "window": 2}


def test_a_run_is_neither_overwritten_nor_resumed_by_mistake(tmp_path: Path, video_folder: Path) -> None:
    config = config_of(tmp_path / "run", video_folder, steps=1)
    with pytest.raises(ValueError, match="no checkpoint to resume"):
        train_proxy(config, resume=True)
    train_proxy(config)
    with pytest.raises(ValueError, match="already holds a run"):
        train_proxy(config)


def test_it_learns_and_what_it_leaves_can_be_loaded(tmp_path: Path, video_folder: Path) -> None:
    config = config_of(
        tmp_path / "run", video_folder, steps=40, validate_every=40, checkpoint_every=40, precision="bf16"
    )
    before = ProxyTask(config).validate(0).scalars
    tokenizer = VideoTokenizer.from_pretrained(train_proxy(config))
    task = ProxyTask(config)
    task.trained["tokenizer"].average.load_state_dict(tokenizer.state_dict())
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

    monkeypatch.setattr("evatok.training.loop.compile_layers", compile_layers)
    torch._dynamo.reset()
    weights = [
        load_file(train_proxy(config_of(tmp_path / str(on), video_folder, steps=4, compile=on)) / "model.safetensors")
        for on in (False, True)
    ]
    torch._dynamo.reset()
    assert len(compiled) == 1
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name], expected, atol=1e-3, rtol=1e-3)


def test_finite_scalar_quantization_learns_too(tmp_path: Path, video_folder: Path) -> None:
    config = config_of(tmp_path / "run", video_folder, steps=30, validate_every=30, checkpoint_every=30)
    config = replace(config, model=replace(MINI, quantizer=FSQConfig((8, 5, 5))))
    before = ProxyTask(config).validate(0).scalars
    tokenizer = VideoTokenizer.from_pretrained(train_proxy(config))
    task = ProxyTask(config)
    task.trained["tokenizer"].average.load_state_dict(tokenizer.state_dict())
    after = task.validate(30).scalars
    improved = [name for name in before if "l1" in name]
    assert improved and all(after[name] < before[name] for name in improved)
    assert tokenizer.config.quantizer == FSQConfig((8, 5, 5))


def test_assignments_of_groups_are_uniform_over_the_space(tmp_path: Path, video_folder: Path) -> None:
    task = ProxyTask(config_of(tmp_path / "run", video_folder))
    batch = task.batches[0]
    drawn = [task._lengths(batch, torch.Generator().manual_seed(seed)) for seed in range(400)]
    assert all((rows == rows[0]).all() and len(rows) == 2 for rows in drawn)
    share = (torch.stack([rows[0] for rows in drawn]) == 8).float().mean(0)
    assert ((share - 0.5).abs() < 0.08).all()


def test_a_loss_that_is_not_finite_is_named(
    tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "evatok.losses.reconstruction.ReconstructionLoss.forward", lambda *_: {"l1": torch.tensor(torch.nan)}
    )
    with pytest.raises(FloatingPointError, match="loss l1 of tokenizer is nan at step 0"):
        train_proxy(config_of(tmp_path / "run", video_folder))


def test_config_refuses_clips_of_another_length(tmp_path: Path, video_folder: Path) -> None:
    config = config_of(tmp_path, video_folder)
    data = replace(config.data, clips=replace(config.data.clips, frames=12))
    with pytest.raises(ValueError, match="must be the model's 16, got 12"):
        replace(config, data=data)
    with pytest.raises(ValueError, match="names no source"):
        DataConfig()
