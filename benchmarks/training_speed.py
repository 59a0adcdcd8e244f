"""A training step of stage 1: clips a second by preset, mix of assignments and batch, and what the time goes to.

Clips are random bytes, so that no disk is measured; what reading costs is measured by itself, on a video that is
written for it. Groups of a step have an assignment each. The step is the stage's own (`ProxyTask`, `train`).

    python -m benchmarks.training_speed --preset tiny --batches 16 --groups 1 2 4 --out docs/results/training-speed.json
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import Dataset

from benchmarks.common import Row, arguments, in_turn, product_rate, report
from benchmarks.operations import training_operations
from evatok.data.clips import ClipBatch, ClipSamplerConfig
from evatok.data.folders import FolderConfig
from evatok.data.video import write_video
from evatok.losses.reconstruction import ReconstructionLossConfig
from evatok.stages.data import DataConfig
from evatok.stages.proxy import CodebookConfig, ProxyConfig, ProxyTask
from evatok.tokenizer.config import PRESETS, TokenizerConfig
from evatok.training.loop import LoopConfig, train
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Item

# Kinds of operators by their names, the first that fits; a name ends where the pattern does if it ends with "$".
KINDS: dict[str, tuple[str, ...]] = {
    "attention": ("bmm$", "baddbmm$", "softmax", "scaled_dot_product", "varlen_attn", "flash_attention"),
    "matrix products": ("mm$", "addmm$", "mkldnn_linear"),
    "convolutions": ("conv",),
    "copies and casts": ("copy_$", "cat$", "clone$", "fill_$", "zero_$", "empty", "contiguous$", "resize_$", "stack$"),
    "optimisers": ("_fused_adam", "_foreach_", "lerp_$"),
}


class RandomClips(Dataset[ClipBatch]):
    """The same random clips at any index."""

    def __init__(self, clips: int, frames: int, side: int) -> None:
        shape = (clips, frames, 3, side, side)
        video = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        self.batch = ClipBatch(video, torch.full((clips,), -1), ["random"] * clips)

    def __getitem__(self, index: int) -> ClipBatch:
        return self.batch


class TimedTask(ProxyTask):
    """Stage 1 on random clips, which notes when each step begins."""

    def __init__(self, config: ProxyConfig, each_step: Callable[[int], None]) -> None:
        super().__init__(config)
        self.each_step = each_step
        self.batches = RandomClips(config.data.group, config.model.clip_frames, config.model.side)  # type: ignore[assignment]
        self.starts: list[float] = []
        self.assignments: list[list[int]] = []

    def before_step(self, step: int, items: list[Item[ClipBatch]], generator: torch.Generator) -> None:
        self.each_step(step)
        self.starts.append(time.perf_counter())
        super().before_step(step, items, generator)

    def _lengths(self, batch: ClipBatch, generator: torch.Generator) -> Tensor:
        lengths = super()._lengths(batch, generator)
        self.assignments += lengths.tolist()
        return lengths


def config_of(
    folder: Path, model: TokenizerConfig, batch: int, groups: int, loss: ReconstructionLossConfig, steps: int
) -> ProxyConfig:
    """Stage 1 with `batch` clips a step in `groups` groups, quantized from the first step on, without validation."""
    if batch % groups:
        raise ValueError(f"{batch} clips do not divide into {groups} groups")
    return ProxyConfig(
        folder=str(folder / "run"),
        data=DataConfig(
            train=[FolderConfig(folder=str(folder / "videos"))],
            clips=ClipSamplerConfig(frames=model.clip_frames, sizes=[(model.side, model.side)], size_weights=[1.0]),
            group=batch // groups,
        ),
        model=model,
        loss=loss,
        codebook=CodebookConfig(warmup=0, window=10_000),
        optimizer=OptimizerConfig(kind="muon"),
        loop=LoopConfig(steps=steps, accumulate=groups, log_every=10_000, tracker="none"),
    )


def run_steps(config: ProxyConfig, folder: Path, each_step: Callable[[int], None]) -> TimedTask:
    """Trains for the steps of a config and throws the result away."""
    torch.manual_seed(config.loop.seed)
    with tempfile.TemporaryDirectory(dir=folder) as run:
        task = TimedTask(config, each_step)
        train(task, config.loop, Path(run), resume=False)
    return task


def seconds_of_kinds(events: Iterable[Any]) -> tuple[dict[str, float], dict[str, float], int]:
    """Seconds of operators by kind, of those of no kind by name, and how many operators ran."""
    kinds: dict[str, float] = defaultdict(float)
    others: dict[str, float] = defaultdict(float)
    count = 0
    for event in events:
        if event.key.startswith("ProfilerStep"):
            continue
        kind, seconds = kind_of(event.key), event.self_cpu_time_total / 1e6
        kinds[kind] += seconds
        count += event.count
        if kind == "everything else":
            others[event.key] += seconds
    return dict(kinds), dict(others), count


def kind_of(name: str) -> str:
    """The kind of an operator."""
    for kind, patterns in KINDS.items():
        for pattern in patterns:
            if name.endswith("::" + pattern[:-1]) if pattern.endswith("$") else pattern in name:
                return kind
    return "everything else"


def profiled(config: ProxyConfig, folder: Path, steps: int) -> EventList:
    """Operators of `steps` steps, summed over these: the last but one and those before it, for the last also saves."""
    profiler = profile(activities=[ProfilerActivity.CPU])
    last = config.loop.steps - 1

    def each_step(step: int) -> None:
        if step == last - steps:
            profiler.start()
        if step == last:
            profiler.stop()

    run_steps(config, folder, each_step)
    return profiler.key_averages()


def lpips_seconds(task: ProxyTask, config: ProxyConfig, repeats: int) -> float:
    """Forward and backward pass of LPIPS over the clips of a step, in bfloat16 as the loop has it."""
    if task.loss.lpips is None:
        return 0.0
    video = task._video(task.batches[0])
    output = video.clone().requires_grad_()
    generator = torch.Generator().manual_seed(0)

    def forward_and_backward() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            task.loss(output, video, generator)["lpips"].backward()

    return config.loop.accumulate * in_turn({"lpips": forward_and_backward}, repeats)["lpips"]


def reading_seconds(config: ProxyConfig, repeats: int) -> float:
    """Reading, cutting and resizing the clips of a step in one process."""
    clips, _ = replace(config.data, validation=[]).open(0)
    numbers = iter(range(10**6))
    return config.loop.accumulate * in_turn({"reading": lambda: clips[next(numbers)]}, repeats)["reading"]


def measure(
    name: str,
    model: TokenizerConfig,
    batch: int,
    groups: int,
    loss: ReconstructionLossConfig,
    steps: int,
    profile_steps: int,
    rate: float,
) -> Row:
    """Clips a second, what the step's time goes to, and its operations against the machine's own rate of products."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "videos").mkdir()
        noise = torch.randint(0, 256, (64, 3, 144, 256), dtype=torch.uint8)
        write_video(folder / "videos" / "noise.mp4", noise, fps=24)
        config = config_of(folder, model, batch, groups, loss, steps)
        task = run_steps(config, folder, lambda step: None)
        gaps = sorted(b - a for a, b in zip(task.starts[1:], task.starts[2:], strict=False))
        seconds = gaps[len(gaps) // 2]
        operations = training_operations(model, (model.side, model.side), task.assignments) / len(task.starts)
        kinds, others, count = seconds_of_kinds(profiled(config, folder, profile_steps))
        whole = sum(kinds.values())
        return {
            "preset": name,
            "batch": batch,
            "groups": groups,
            "clips/s": batch / seconds,
            **{kind: f"{kinds.get(kind, 0.0) / whole:.0%}" for kind in [*KINDS, "everything else"]},
            "LPIPS": f"{lpips_seconds(task, config, 3) / seconds:.0%}",
            "reading, one process": f"{reading_seconds(config, 3) / seconds:.0%}",
            "of the product rate": f"{operations / seconds / rate:.0%}",
            "operators a step": count // profile_steps,
            "largest others": ", ".join(
                f"{key.removeprefix('aten::')} {value / whole:.0%}"
                for key, value in sorted(others.items(), key=lambda item: -item[1])[:4]
            ),
        }


def main() -> None:
    """Measures every batch with every number of groups."""
    parser = arguments(__doc__)
    parser.add_argument("--preset", choices=list(PRESETS), default="tiny")
    parser.add_argument("--batches", type=int, nargs="+", default=[16])
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 4], help="assignments of a step")
    parser.add_argument("--network", choices=["alex", "vgg"], default="alex", help="of LPIPS")
    parser.add_argument("--frames", type=int, default=8, help="of a clip that LPIPS sees")
    parser.add_argument("--profile-steps", type=int, default=3, help="steps of which operators are counted")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rate = product_rate(torch.bfloat16)
    loss = ReconstructionLossConfig(network=given.network, perceptual_frames=given.frames)
    rows = [
        measure(given.preset, PRESETS[given.preset], batch, groups, loss, given.repeats + 4, given.profile_steps, rate)
        for batch in given.batches
        for groups in given.groups
    ]
    report(rows, given.out, product_rate=rate)


if __name__ == "__main__":
    main()
