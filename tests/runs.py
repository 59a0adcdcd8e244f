"""Training runs small enough for tests, in this process or in one that can be killed.

`python -m tests.runs CONFIG.yaml [--stage NAME] [--shard] [--stall WHERE N MARK] [--any.value X]` runs `evatok train`,
of the proxy or of another, on a config and, if asked to, stands still before step N, or in the middle of writing the
checkpoint of step N: from when it makes the file MARK until somebody removes that. `--shard` lets processes without
GPUs shard what they train.
"""

import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import DistributedType
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import load_file

from evatok.cli import main
from evatok.data.clips import ClipSamplerConfig
from evatok.data.folders import FileConfig, FolderConfig
from evatok.data.sources import SourceConfig
from evatok.losses.reconstruction import ReconstructionLossConfig
from evatok.stages.codebook import CodebookConfig
from evatok.stages.data import DataConfig
from evatok.stages.proxy import ProxyConfig, ProxyTask
from evatok.training import loop
from evatok.training.checkpoints import checkpoints
from evatok.training.loop import LoopConfig, StageConfig
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Progress, Task
from tests.conftest import MINI


def mini_config(folder: Path, videos: Path, **loop: Any) -> ProxyConfig:
    """A run of 8 steps of 2 groups of 2 clips, which draws its codebook at step 3; validates on `held_out.mkv`."""
    train: list[SourceConfig] = [FolderConfig(folder=str(videos))]
    validation: list[SourceConfig] = [FileConfig(file=str(videos.parent / "held_out.mkv"))]
    clips = ClipSamplerConfig(
        sizes=[(32, 32), (32, 40)], size_weights=[0.5, 0.5], frame_strides=[1], stride_weights=[1.0]
    )
    return ProxyConfig(
        folder=str(folder),
        data=DataConfig(
            train=train, validation=validation, clips=clips, group=2, validation_clips=2, validation_size=(32, 32)
        ),
        model=MINI,
        loss=ReconstructionLossConfig(lpips_net="alex", perceptual_frames=2),
        codebook=CodebookConfig(warmup=3, window=2),
        optimizer=OptimizerConfig(kind="muon", lr=3e-3, warmup=2),
        ema_decay=0.9,
        loop=replace(
            LoopConfig(steps=8, accumulate=2, precision="no", log_every=2, validate_every=8, checkpoint_every=4),
            **loop,
        ),
    )


def write_config(config: StageConfig, path: Path) -> Path:
    """The config as a YAML file."""
    path.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(config)))))
    return path


def differing_files(run: Path, other: Path) -> list[str]:
    """Names of the files of two runs' last checkpoints, and of their results, that are not alike to the last bit.

    Those that hold seconds, or a checksum of them, are left out.
    """
    ends = [(checkpoints(each / "checkpoints")[-1], each / "final") for each in (run, other)]
    folders = [(last, last / "export", final) for last, final in ends]
    wrong = []
    for here, there in zip(*folders, strict=True):
        for name in sorted({path.name for folder in (here, there) for path in folder.iterdir()} - {"export"}):
            if name not in ("training.json", "checkpoint.json") and not _alike(_load(here / name), _load(there / name)):
                wrong.append(f"{here.name}/{name}")
    return wrong


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    return json.loads(path.read_text())


def _alike(a: Any, b: Any) -> bool:
    """Whether two things out of checkpoints are equal; seconds are not compared."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a if key != "seconds")
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, torch.Tensor):
        return a.shape == b.shape and bool((a == b).all())
    return bool(a == b)


def _stand_still(mark: Path) -> None:
    mark.touch()
    while mark.exists():
        time.sleep(0.05)


def _stall_at_step(wanted: int, mark: Path) -> None:
    before_step = ProxyTask.before_step

    def stalled(self: ProxyTask, step: int, *others: Any) -> None:
        if step == wanted:
            _stand_still(mark)
        before_step(self, step, *others)

    ProxyTask.before_step = stalled  # type: ignore[method-assign, assignment]


def _stall_in_checkpoint(wanted: int, mark: Path) -> None:
    write_state = loop.write_state

    def stalled(folder: Path, task: Task[Any], progress: Progress) -> None:
        write_state(folder, task, progress)
        if f"{wanted:08d}" in folder.name:
            weights = folder / "tokenizer.weights.safetensors"
            weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
            _stand_still(mark)

    loop.write_state = stalled


def shard_without_gpus() -> None:
    """accelerate shards on GPUs only, by its choice alone: torch does it on CPUs as well."""
    initialize = AcceleratorState.__init__

    def initialized(self: AcceleratorState, *others: Any, fsdp_plugin: Any = None, **named: Any) -> None:
        initialize(self, *others, fsdp_plugin=fsdp_plugin, **named)
        if fsdp_plugin is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            # As accelerate does it: the next one who asks would be told otherwise.
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            if self.mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self.mixed_precision)

    AcceleratorState.__init__ = initialized


if __name__ == "__main__":
    config, *words = sys.argv[1:]
    stage = "proxy"
    if words[:1] == ["--stage"]:
        stage, words = words[1], words[2:]
    if words[:1] == ["--shard"]:
        words = words[1:]
        shard_without_gpus()
    if words[:1] == ["--stall"]:
        where, number, mark = words[1:4]
        words = words[4:]
        {"step": _stall_at_step, "checkpoint": _stall_in_checkpoint}[where](int(number), Path(mark))
    sys.exit(main(["train", stage, "--config", config, *words]))
