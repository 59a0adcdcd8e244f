"""The one training loop: accelerate for devices, precision and processes; checkpoints, resume, trackers."""

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration
from tqdm import tqdm

from evatok.data.clips import loader
from evatok.nn.transformer import compile_layers
from evatok.training.checkpoints import CheckpointWriter, checkpoints
from evatok.training.precision import native_precision
from evatok.training.preparing import prepare
from evatok.training.stopping import Stopped, StopSignal
from evatok.training.task import BatchT, Item, Progress, Task
from evatok.training.tracking import check_name, installed, log_pictures
from evatok.training.update import NotFinite, Updated, drop_gradients, update
from evatok.utils.ranks import gathered

log = logging.getLogger(__name__)
SKIPS_IN_A_ROW = 10  # steps that are not finite, after which `skip` gives up


@dataclass(frozen=True)
class LoopConfig:
    """How long and how a stage trains.

    Args:
        steps: number of updates.
        accumulate: batches whose gradients are added up for an update, on each process.
        nonfinite: what follows a loss or a gradient that is not finite: `stop` ends the run, `skip` leaves the step
            out. It never reaches the weights.
        compile: compiles what transformer layers do between their attentions (`compile_layers`).
        precision: `bf16` (autocast; quantizer, norms of LPIPS and losses stay in float32), `no` for float32, or `auto`
            for bf16 where the machine computes in it natively and float32 elsewhere; what it came to is recorded.
        seed: of everything random.
        workers: processes that make batches; 0 makes them in the training process.
        log_every: steps between logged numbers.
        validate_every: steps between validations.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many checkpoints are kept, the last ones.
        tracker: where numbers and pictures go: `tensorboard`, `wandb` or another that accelerate has, or `none`.
    """

    steps: int = 400_000
    accumulate: int = 1
    nonfinite: Literal["stop", "skip"] = "stop"
    compile: bool = False
    precision: Literal["auto", "bf16", "no"] = "auto"
    seed: int = 0
    workers: int = 0
    log_every: int = 20
    validate_every: int = 1000
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    tracker: str = "tensorboard"

    def __post_init__(self) -> None:
        check_name(self.tracker)
        for name in ("steps", "accumulate", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("seed", "workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def on_this_machine(self) -> "LoopConfig":
        """The same with the precision that `auto` comes to."""
        return replace(self, precision=native_precision()) if self.precision == "auto" else self


class _State:
    """What a checkpoint holds besides models and optimisers: averages, progress and the task's own memory."""

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self.progress = Progress()

    def state_dict(self) -> dict[str, Any]:
        averages = {name: each.average.state_dict() for name, each in self.task.trained.items() if each.average}
        return {"averages": averages, "task": self.task.state_dict(), "progress": asdict(self.progress)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, trained in self.task.trained.items():
            if trained.average:
                trained.average.load_state_dict(state["averages"][name], trained.network)
        self.task.load_state_dict(state["task"])
        self.progress = Progress(**state["progress"])


def train(task: Task[BatchT], config: LoopConfig, folder: Path, resume: bool, *, validate_first: bool = False) -> None:
    """Trains a task's models in `folder`, from the start or from the last checkpoint there.

    Args:
        task: what is trained.
        config: how long and how.
        folder: of the run.
        resume: whether to go on from the last checkpoint in the folder.
        validate_first: whether the models are good before the first step, so that validation begins there.

    Raises:
        ValueError: if the folder holds a run and `resume` is False, or `resume` is True and there is none.
        NotFinite: if a loss or a gradient is not finite and `config.nonfinite` is `stop`, or `skip` has left out
            `SKIPS_IN_A_ROW` steps one after another.
        Stopped: after SIGTERM; a checkpoint has been written.
        OSError: if something cannot be written; the last complete checkpoint is as it was.
    """
    _check_folder(folder, resume)
    config = config.on_this_machine()
    if config.precision == "bf16" and native_precision() != "bf16":
        log.warning("this machine emulates bf16, which is very slow: loop.precision `auto` or `no` is float32")
    log.info("precision: %s", "float32" if config.precision == "no" else config.precision)
    accelerator = _accelerator(config, folder)
    for name, trained in task.trained.items():
        log.info("%s: %.2fM weights", name, sum(weight.numel() for weight in trained.network.parameters()) / 1e6)
        if config.compile:
            compile_layers(trained.network)
    state = _State(task)
    accelerator.register_for_checkpointing(state)
    prepare(accelerator, task.trained.values())
    accelerator.init_trackers("evatok")
    if resume:
        accelerator.load_state(str(checkpoints(folder / "checkpoints")[-1]))
    elif validate_first:
        _validate(task, accelerator, state.progress)
    with StopSignal() as stop:
        _run(task, config, folder, accelerator, state.progress, stop)
    task.save(folder / "final", state.progress)
    accelerator.end_training()


def _accelerator(config: LoopConfig, folder: Path) -> Accelerator:
    # The precision of an earlier run in this process, in a notebook say, must not bind this one.
    AcceleratorState._reset_state()
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return Accelerator(
        # Several processes without a GPU would otherwise not know of each other.
        cpu=several and not torch.accelerator.is_available(),
        mixed_precision=config.precision,
        log_with=installed(config.tracker),
        project_config=ProjectConfiguration(str(folder), logging_dir=str(folder / "log")),
        step_scheduler_with_optimizer=False,
        # A stage may leave some weights out of a step, as the codebook before it is drawn.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _check_folder(folder: Path, resume: bool) -> None:
    found = checkpoints(folder / "checkpoints")
    if found and not resume:
        raise ValueError(
            f"{folder} already holds a run (last checkpoint: {found[-1].name}); resume it or choose another"
        )
    if resume and not found:
        raise ValueError(f"there is no checkpoint to resume in {folder / 'checkpoints'}")
    folder.mkdir(parents=True, exist_ok=True)


def _run(
    task: Task[BatchT],
    config: LoopConfig,
    folder: Path,
    accelerator: Accelerator,
    progress: Progress,
    stop: StopSignal,
) -> None:
    first = progress.steps
    if first and first % config.validate_every == 0 and first not in [each["steps"] for each in progress.validations]:
        # A run that is stopped at such a step has no time for it.
        _validate(task, accelerator, progress)
    items = _items(task, config, accelerator, first)
    meter, skips = _Meter(), 0
    with tqdm(
        total=config.steps, initial=first, unit="step", disable=not accelerator.is_main_process, smoothing=0.05
    ) as bar:
        for step in range(first, config.steps):
            chunk = list(islice(items, config.accumulate))
            with accelerator.autocast():
                task.before_step(step, chunk, _generator(config, step))
            try:
                updated, skips = update(task, accelerator, step, config.steps, chunk, stop.received), 0
            except NotFinite as error:
                skips = _skip(task, config, error, skips)
                updated, progress.skipped = Updated({}, stopped=False), progress.skipped + 1
            meter.add(updated.losses, sum(len(item.batch) for item in chunk) * accelerator.num_processes, progress)
            done = step + 1
            last = updated.stopped or done == config.steps
            bar.update()
            if done % config.log_every == 0 or last:
                numbers = meter.read()
                bar.set_postfix({name.removeprefix("loss/"): f"{value:.4g}" for name, value in numbers.items()})
                accelerator.log(numbers | task.report(step), step=done)
            if not updated.stopped and (done % config.validate_every == 0 or last):
                _validate(task, accelerator, progress)
                meter.restart()
            if done % config.checkpoint_every == 0 or last:
                _checkpoint(task, config, folder, accelerator, done)
                meter.restart()
            if updated.stopped:
                raise Stopped(f"stopped at step {done} of {config.steps}; everything is saved in {folder}")


def _items(task: Task[BatchT], config: LoopConfig, accelerator: Accelerator, first: int) -> Iterator[Item[BatchT]]:
    """This process's share of the batches from step `first` on: every process takes each n-th."""
    stride = accelerator.num_processes
    each = config.accumulate * stride
    numbers = range(first * each + accelerator.process_index, config.steps * each, stride)
    batches: Iterator[Any] = loader(task.batches, numbers, config.workers)  # type: ignore[arg-type]
    for number, batch in zip(numbers, batches, strict=True):
        yield Item(batch, _seed(config.seed, 1, number))


def _generator(config: LoopConfig, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(config.seed, 0, step))


def _seed(*numbers: int) -> int:
    """One seed out of several numbers: randomness depends on the run's seed and the place in it alone."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _skip(task: Task[Any], config: LoopConfig, error: NotFinite, skips: int) -> int:
    """Leaves a step out, if the config lets it; returns how many that makes in a row."""
    if config.nonfinite == "stop":
        raise error
    if skips + 1 == SKIPS_IN_A_ROW:
        raise NotFinite(f"{SKIPS_IN_A_ROW} steps in a row are not finite; the last: {error}") from error
    log.warning("skipped: %s", error)
    drop_gradients(task)
    return skips + 1


def _validate(task: Task[BatchT], accelerator: Accelerator, progress: Progress) -> None:
    done = progress.steps
    validation = task.validate(done)
    reached = {"steps": done, "clips": progress.clips, "seconds": progress.seconds}
    progress.validations.append({**reached, "scalars": validation.scalars})
    if accelerator.is_main_process:
        accelerator.log({f"validation/{name}": value for name, value in validation.scalars.items()}, step=done)
        for tracker in accelerator.trackers:
            log_pictures(tracker, validation.pictures, done)
        table = "  ".join(f"{name} {value:.4f}" for name, value in validation.scalars.items())
        log.info("step %d: %s", done, table)
    accelerator.wait_for_everyone()


def _checkpoint(task: Task[BatchT], config: LoopConfig, folder: Path, accelerator: Accelerator, done: int) -> None:
    writer = CheckpointWriter(folder / "checkpoints", done, config.keep_checkpoints)
    task.gather()
    if accelerator.is_main_process:
        writer.open()
    accelerator.wait_for_everyone()
    writer.fill(lambda temporary: accelerator.save_state(str(temporary)))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        writer.close()


class _Meter:
    """Means of losses over steps and processes, and the rate of clips, since it was last read; counts progress."""

    def __init__(self) -> None:
        self.since = time.perf_counter()
        self._clear()

    def _clear(self) -> None:
        self.losses: dict[str, list[float]] = {}
        self.clips, self.seconds = 0, 0.0

    def add(self, losses: dict[str, float], clips: int, progress: Progress) -> None:
        """Adds a step; `losses` is empty for one that was skipped."""
        before = self.since
        self.restart()
        seconds = self.since - before
        self.seconds, self.clips = self.seconds + seconds, self.clips + clips
        progress.seconds, progress.steps, progress.clips = (
            progress.seconds + seconds,
            progress.steps + 1,
            progress.clips + clips,
        )
        for name, value in losses.items():
            self.losses.setdefault(name, []).append(value)

    def restart(self) -> None:
        """Leaves out the time since the last step."""
        self.since = time.perf_counter()

    def read(self) -> dict[str, float]:
        """The means over all processes, of each loss over the steps that had it; all processes must call it."""
        everywhere = gathered(self.losses)
        names = dict.fromkeys(name for losses in everywhere for name in losses)
        means = {name: fmean(value for losses in everywhere for value in losses.get(name, [])) for name in names}
        means["clips/s"] = self.clips / self.seconds
        self._clear()
        return means
