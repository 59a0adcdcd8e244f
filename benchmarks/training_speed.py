"""A training step of stage 1: clips a second by preset, mix of assignments and batch, and what the time goes to.

Clips are in memory; what reading costs is measured by itself, on a video that is written for it. Groups of a step have
an assignment each.

    python -m benchmarks.training_speed --preset tiny --batches 16 --groups 1 2 4 --out docs/results/training-speed.json
"""

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile

from benchmarks.common import Row, in_turn, product_rate, report, timing_arguments
from benchmarks.operations import training_operations
from benchmarks.steps import run_steps, step_config
from evatok.losses.reconstruction import ReconstructionLossConfig
from evatok.stages.proxy import ProxyConfig, ProxyTask
from evatok.tokenizer.config import PRESETS, TokenizerConfig
from evatok.training.precision import native_precision

# Kinds of operators by their names, the first that fits; a name ends where the pattern does if it ends with "$".
KINDS: dict[str, tuple[str, ...]] = {
    "attention": ("bmm$", "baddbmm$", "softmax", "scaled_dot_product", "varlen_attn", "flash_attention"),
    "matrix products": ("mm$", "addmm$", "mkldnn_linear"),
    "convolutions": ("conv",),
    "copies and casts": ("copy_$", "cat$", "clone$", "fill_$", "zero_$", "empty", "contiguous$", "resize_$", "stack$"),
    "optimisers": ("_fused_adam", "_foreach_", "lerp_$"),
}


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


def profiled(config: ProxyConfig, steps: int) -> EventList:
    """Operators of `steps` steps, summed over these: the last but one and those before it, for the last also saves."""
    profiler = profile(activities=[ProfilerActivity.CPU])
    last = config.loop.steps - 1

    def each_step(step: int) -> None:
        if step == last - steps:
            profiler.start()
        if step == last:
            profiler.stop()

    run_steps(config, each_step)
    return profiler.key_averages()


def lpips_seconds(task: ProxyTask, config: ProxyConfig, repeats: int) -> float:
    """Forward and backward pass of LPIPS over the clips of a step, in the precision of the loop."""
    if task.loss.lpips is None:
        return 0.0
    video = task._video(task.batches[0])
    output = video.clone().requires_grad_()
    generator = torch.Generator().manual_seed(0)

    def forward_and_backward() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=native_precision() == "bf16"):
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
    with tempfile.TemporaryDirectory() as folder:
        config = step_config(Path(folder), model, batch, groups, loss, steps)
        task = run_steps(config)
        seconds = statistics.median(task.seconds)
        operations = training_operations(model, (model.side, model.side), task.assignments) / len(task.starts)
        kinds, others, count = seconds_of_kinds(profiled(config, profile_steps))
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
    parser = timing_arguments(__doc__)
    parser.add_argument("--preset", choices=list(PRESETS), default="tiny")
    parser.add_argument("--batches", type=int, nargs="+", default=[16])
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 4], help="assignments of a step")
    parser.add_argument("--lpips-net", choices=["alex", "vgg"], default="alex", help="of LPIPS")
    parser.add_argument("--frames", type=int, default=8, help="of a clip that LPIPS sees")
    parser.add_argument("--profile-steps", type=int, default=3, help="steps of which operators are counted")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rate = product_rate(torch.bfloat16 if native_precision() == "bf16" else torch.float32)
    loss = ReconstructionLossConfig(lpips_net=given.lpips_net, perceptual_frames=given.frames)
    rows = [
        measure(given.preset, PRESETS[given.preset], batch, groups, loss, given.repeats + 4, given.profile_steps, rate)
        for batch in given.batches
        for groups in given.groups
    ]
    report(rows, given.out, product_rate=rate)


if __name__ == "__main__":
    main()
