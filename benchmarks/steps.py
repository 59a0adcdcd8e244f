"""Training steps of stage 1, by the stage's own task and loop, for whatever measures them."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from torch.utils.data import Dataset

from evatok.data.clips import ClipBatch, ClipSamplerConfig
from evatok.data.folders import FolderConfig
from evatok.losses.reconstruction import ReconstructionLossConfig
from evatok.nn.packed import Layout
from evatok.stages.codebook import CodebookConfig
from evatok.stages.data import DataConfig
from evatok.stages.proxy import ProxyConfig, ProxyTask
from evatok.tokenizer.config import TokenizerConfig
from evatok.training.loop import LoopConfig, train
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Item
from evatok.video.reading import write_video


def step_config(
    folder: Path, model: TokenizerConfig, batch: int, groups: int, loss: ReconstructionLossConfig, steps: int
) -> ProxyConfig:
    """Stage 1 with `batch` clips a step in `groups` groups, quantized from the first step on, without validation.

    Its source is a video of noise, which is written into the folder.
    """
    if batch % groups:
        raise ValueError(f"{batch} clips do not divide into {groups} groups")
    videos = folder / "videos"
    videos.mkdir(exist_ok=True)
    noise = torch.randint(0, 256, (64, 3, 144, 256), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    write_video(videos / "noise.mp4", noise, fps=24)
    return ProxyConfig(
        folder=str(folder / "run"),
        data=DataConfig(
            train=[FolderConfig(folder=str(videos))],
            clips=ClipSamplerConfig(frames=model.clip_frames, sizes=[(model.side, model.side)], size_weights=[1.0]),
            group=batch // groups,
        ),
        model=model,
        loss=loss,
        codebook=CodebookConfig(warmup=0, window=10_000),
        optimizer=OptimizerConfig(kind="muon"),
        loop=LoopConfig(steps=steps, accumulate=groups, log_every=10_000, tracker="none"),
    )


class RandomClips(Dataset[ClipBatch]):
    """The same random clips at any index."""

    def __init__(self, clips: int, frames: int, side: int, device: torch.device | str = "cpu") -> None:
        shape = (clips, frames, 3, side, side)
        video = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        self.batch = ClipBatch(video.to(device), torch.full((clips,), -1), ["random"] * clips)

    def __getitem__(self, index: int) -> ClipBatch:
        return self.batch


class TimedTask(ProxyTask):
    """Stage 1, which notes when each step begins and which assignments it had."""

    def __init__(self, config: ProxyConfig, each_step: Callable[[int], None]) -> None:
        super().__init__(config)
        self.each_step = each_step
        self.starts: list[float] = []
        self.assignments: list[tuple[int, ...]] = []
        self._given, self.assign = self.assign, self._noted

    def before_step(self, step: int, items: list[Item[ClipBatch]], generator: torch.Generator) -> None:
        self.each_step(step)
        self.starts.append(time.perf_counter())
        super().before_step(step, items, generator)

    def _noted(self, video: Tensor, generator: torch.Generator) -> Layout:
        layout = self._given(video, generator)
        self.assignments += layout.lengths
        return layout

    @property
    def seconds(self) -> list[float]:
        """Of each step but the first, which warms up, and the last, which also saves."""
        return [b - a for a, b in pairwise(self.starts[1:])]


def run_steps(
    config: ProxyConfig, each_step: Callable[[int], None] = lambda step: None, *, read: bool = False
) -> TimedTask:
    """Trains for the steps of a config, calls `each_step` before each, and throws the result away.

    Clips are random bytes in memory, unless they are to be read, from the config's source.
    """
    torch.manual_seed(config.loop.seed)
    with tempfile.TemporaryDirectory() as run:
        task = TimedTask(config, each_step)
        if not read:
            clips = RandomClips(config.data.group, config.model.clip_frames, config.model.side)
            task.batches = clips
        train(task, replace(config, folder=run))
    return task


def new_accelerator(precision: str) -> Accelerator:
    """For single updates, whatever the precision of an earlier run in this process."""
    AcceleratorState._reset_state()
    return Accelerator(mixed_precision=precision)
