"""Real processes that are killed, told to stop, or out of space: what comes out is the same, and nothing is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from evatok.cli import FAILED, STOPPED
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.checkpoints import checkpoints
from tests.runs import differing_files, mini_config, write_config

# One thread: with more, sums are in another order from run to run.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start(config: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.runs", str(config), *words]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def start_and_wait_for(mark: Path, config: Path, stall: list[str], *words: str) -> subprocess.Popen[str]:
    """A process that stands still where `stall` says."""
    process = start(config, "--stall", *stall, str(mark), *words)
    while not mark.exists() and process.poll() is None:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()[1]
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL


def steps(run: Path) -> list[str]:
    return [path.name for path in checkpoints(run / "checkpoints")]


def test_kill_resume_ends_bitwise_where_an_undisturbed_run_does(tmp_path: Path, video_folder: Path) -> None:
    loop = {"steps": 12, "checkpoint_every": 3, "workers": 1}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    undisturbed = start(write_config(mini_config(whole, video_folder, **loop), tmp_path / "whole.yaml"))
    config = write_config(mini_config(parts, video_folder, **loop), tmp_path / "parts.yaml")

    kill(start_and_wait_for(tmp_path / "first", config, ["step", "4"]))
    assert steps(parts) == ["step_00000003"]
    kill(start_and_wait_for(tmp_path / "second", config, ["checkpoint", "6"], "--resume"))
    assert steps(parts) == ["step_00000003"]
    stopping = start_and_wait_for(tmp_path / "third", config, ["step", "7"], "--resume")
    stopping.send_signal(signal.SIGTERM)
    (tmp_path / "third").unlink()
    told = stopping.communicate(timeout=120)[1]
    assert stopping.returncode == STOPPED and "stopped at step 8 of 12" in told and "--resume goes on" in told
    assert steps(parts) == ["step_00000006", "step_00000008"]
    assert start(config, "--resume").wait(120) == 0
    assert undisturbed.wait(120) == 0

    assert steps(parts)[-1] == steps(whole)[-1] == "step_00000012"
    names = {path.name for path in checkpoints(whole / "checkpoints")[-1].iterdir()}
    models = {f"tokenizer.{part}.safetensors" for part in ("weights", "optimizers", "average")}
    assert names == models | {"task.safetensors", "progress.json", "checkpoint.json", "export"}
    assert differing_files(whole, parts) == []
    assert not list((parts / "checkpoints").glob(".*"))


def test_kill_resume_with_another_config_or_a_damaged_checkpoint_says_what_is_wrong(
    tmp_path: Path, video_folder: Path
) -> None:
    run = tmp_path / "run"
    config = write_config(mini_config(run, video_folder, steps=9, checkpoint_every=3), tmp_path / "run.yaml")
    kill(start_and_wait_for(tmp_path / "mark", config, ["step", "4"]))
    tokenizer = VideoTokenizer.from_pretrained(run / "checkpoints" / "step_00000003" / "export")
    assert tokenizer.encode(torch.zeros(1, 16, 3, 32, 32)).lengths.shape == (1, 4)

    other = start(config, "--resume", "--model.encoder.depth", "2", "--loop.steps", "5")
    told = other.communicate(timeout=120)[1]
    assert other.returncode == FAILED and "Traceback" not in told
    assert "another model.encoder.depth: 1, now 2" in told and "loop.steps" not in told
    shorter = start(config, "--resume", "--loop.steps", "5")
    told = shorter.communicate(timeout=120)[1]
    assert shorter.returncode == 0 and "loop.steps: 9, now 5" in told
    assert steps(run) == ["step_00000003", "step_00000005"]

    weights = run / "checkpoints" / "step_00000005" / "tokenizer.weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    cut = start(config, "--resume")
    told = cut.communicate(timeout=120)[1]
    assert cut.returncode == FAILED and "Traceback" not in told and f"evatok: {weights} has " in told
    assert told.strip().endswith(f"remove step_00000005 to go on from {run / 'checkpoints' / 'step_00000003'}")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of a process are POSIX")
def test_kill_resume_a_disk_that_is_full_leaves_the_last_checkpoint(tmp_path: Path, video_folder: Path) -> None:
    run = tmp_path / "run"
    config = write_config(mini_config(run, video_folder, steps=4, checkpoint_every=2), tmp_path / "run.yaml")
    assert start(config).wait(120) == 0
    longer = start_limited(config, "--resume", "--loop.steps", "6")
    told = longer.communicate(timeout=120)[1]
    assert longer.returncode == FAILED
    assert "cannot write checkpoint" in told and "the last good one is" in told and "Traceback" not in told
    assert steps(run) == ["step_00000002", "step_00000004"]
    assert not list((run / "checkpoints").glob(".*"))


def start_limited(config: Path, *words: str) -> subprocess.Popen[str]:
    """A process that can write no file of more than 384 KiB: a log, but no checkpoint."""
    import resource

    command = [sys.executable, "-m", "tests.runs", str(config), *words]
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3 * 2**17, 3 * 2**17)),
    )


def test_kill_resume_a_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path, video_folder: Path) -> None:
    (tmp_path / "file").touch()
    config = write_config(mini_config(tmp_path / "file" / "run", video_folder), tmp_path / "run.yaml")
    process = start(config)
    told = process.communicate(timeout=120)[1]
    assert process.returncode == FAILED and "Traceback" not in told and str(tmp_path / "file") in told
