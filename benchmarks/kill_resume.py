"""Kills a training run at random moments, resumes it each time, and compares its end with an undisturbed run's.

    python -m benchmarks.kill_resume --kills 20 --out docs/results/kill-resume.json

The run is that of the tests: a mini tokenizer on two made-up videos, a checkpoint every 3 steps, one thread.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from benchmarks.common import arguments, write_record
from evatok.training.checkpoints import checkpoints
from evatok.video.reading import write_video
from tests.runs import differing_files, mini_config, write_config

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def main() -> None:
    """Runs the command line; ends with 1 if anything differs."""
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=120)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record = kill_often(Path(folder), given.kills, given.seed, given.steps)
    print(json.dumps(record, indent=2))
    write_record(record, given.out)
    sys.exit(bool(record["differing"]))


def kill_often(folder: Path, kills: int, seed: int, steps: int) -> dict[str, object]:
    """The moments that were hit, and the files that differ in the end."""
    videos, rng = folder / "videos", random.Random(seed)
    videos.mkdir()
    for number, path in enumerate((videos / "0.mp4", videos / "1.mp4", folder / "held_out.mkv")):
        noise = torch.randint(0, 256, (24, 3, 48, 64), generator=torch.Generator().manual_seed(number))
        write_video(path, noise.to(torch.uint8), fps=12)
    loop = {"steps": steps, "checkpoint_every": 3, "workers": 1}
    whole = write_config(mini_config(folder / "whole", videos, **loop), folder / "whole.yaml")
    parts = write_config(mini_config(folder / "parts", videos, **loop), folder / "parts.yaml")
    assert start(whole, folder / "whole").wait() == 0
    moments: Counter[str] = Counter()
    while sum(moments.values()) < kills:
        process = start(parts, folder / "parts")
        wait_for_training(process, folder / "parts.log")
        time.sleep(rng.uniform(0, 2))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            moments["writing" if list((folder / "parts" / "checkpoints").glob(".*")) else "training"] += 1
        if (folder / "parts" / "final").exists():
            break
    assert start(parts, folder / "parts").wait() == 0
    return {
        "kills": dict(moments),
        "seed": seed,
        "steps": steps,
        "differing": differing_files(folder / "whole", folder / "parts"),
    }


def start(config: Path, run: Path) -> "subprocess.Popen[bytes]":
    """The run from where it is."""
    resume = ["--resume"] if checkpoints(run / "checkpoints") else []
    command = [sys.executable, "-m", "tests.runs", str(config), *resume]
    with run.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(command, env=ENVIRONMENT, stderr=log, stdout=log)


def wait_for_training(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until the progress bar shows a rate, or the process has ended."""
    while process.poll() is None and b"step" not in log.read_bytes():
        time.sleep(0.05)


if __name__ == "__main__":
    main()
