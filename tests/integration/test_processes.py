"""Two processes do what one does with twice the batches."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from evatok.training.checkpoints import checkpoints
from evatok.training.optimizers import OptimizerConfig
from tests.runs import mini_config, write_config

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def run(config: Path, processes: int, *words: str) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launch, "-m", "tests.runs", str(config), *words]
    done = subprocess.run(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def logged(folder: Path) -> dict[str, dict[int, float]]:
    """Every scalar of a run's log by step, over all its resumes."""
    scalars: dict[str, dict[int, float]] = {}
    for events in sorted((folder / "log").rglob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime):
        log = EventAccumulator(str(events)).Reload()
        for name in log.Tags()["scalars"]:
            scalars.setdefault(name, {}).update({event.step: event.value for event in log.Scalars(name)})
    return scalars


def test_two_processes_equal_one_with_twice_the_batches(tmp_path: Path, video_folder: Path) -> None:
    # Three validation clips: the two processes have unequal shares.
    def config(name: str, **loop: Any) -> Path:
        made = mini_config(tmp_path / name, video_folder, log_every=1, **loop)
        made = replace(made, data=replace(made.data, validation_clips=3), optimizer=OptimizerConfig(lr=1e-3, warmup=2))
        return write_config(made, tmp_path / f"{name}.yaml")

    run(config("one", accumulate=2), 1)
    two = config("two", accumulate=1, checkpoint_every=6)
    run(two, 2)
    # The codebook's window of 2 steps is open at step 6: a resume must not lose the second process's counts.
    shutil.rmtree(checkpoints(tmp_path / "two" / "checkpoints")[-1])
    run(two, 2, "--resume")

    one_log, two_log = logged(tmp_path / "one"), logged(tmp_path / "two")
    compared = [name for name in one_log if "clips/s" not in name]
    assert {"loss/l1", "loss/commitment", "codes/used"} <= set(compared) and any("lpips/8" in name for name in compared)
    for name in compared:
        assert two_log[name] == pytest.approx(one_log[name], rel=1e-3, abs=1e-4), name
    one_weights, two_weights = (load_file(tmp_path / name / "final" / "model.safetensors") for name in ("one", "two"))
    for name, weight in one_weights.items():
        torch.testing.assert_close(two_weights[name], weight, rtol=1e-3, atol=1e-4)
    progress = [
        torch.load(checkpoints(tmp_path / name / "checkpoints")[-1] / "custom_checkpoint_0.pkl", weights_only=False)[
            "progress"
        ]
        for name in ("one", "two")
    ]
    assert progress[0]["clips"] == progress[1]["clips"] == 32
