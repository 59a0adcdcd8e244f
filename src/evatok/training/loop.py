"""The one training loop: accelerate for devices, precision and processes; checkpoints, resume, trackers."""

import logging
import time
from collections.abc import Iterator, Sized
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from tqdm import tqdm

from evatok.data.clips import loader
from evatok.nn.transformer import compile_layers
from evatok.training.checkpoints import checkpoints, write_checkpoint
from evatok.training.optimizers import relative_rate, set_rate
from evatok.training.task import Progress, Task, Trained

log = logging.getLogger(__name__)
BatchT = TypeVar("BatchT", bound=Sized)


@dataclass(frozen=True)
class LoopConfig:
    """How long and how a stage trains.

    Args:
        steps: number of updates.
        accumulate: batches whose gradients are added up for an update, on each process.
        compile: compiles what transformer layers do between their attentions (`compile_layers`).
        precision: `bf16` (autocast; quantizer, norms of LPIPS and losses stay in float32) or `no` for float32.
        seed: of everything random.
        workers: processes that make batches; 0 makes them in the training process.
        log_every: steps between logged numbers.
        validate_every: steps between validations.
        checkpoint_every: steps between checkpoints.
        keep: checkpoints kept.
        tracker: where numbers and pictures go.
    """

    steps: int = 400_000
    accumulate: int = 1
    compile: bool = False
    precision: Literal["bf16", "no"] = "bf16"
    seed: int = 0
    workers: int = 0
    log_every: int = 20
    validate_every: int = 1000
    checkpoint_every: int = 1000
    keep: int = 2
    tracker: Literal["tensorboard", "none"] = "tensorboard"

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "log_every", "validate_every", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("seed", "workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


class _State:
    """What a checkpoint holds besides models and optimisers: averages, progress and the task's own memory."""

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self.progress = Progress()

    def state_dict(self) -> dict[str, Any]:
        averages = {name: trained.averaging.state_dict() for name, trained in self.task.trained.items()}
        return {"averages": averages, "task": self.task.state_dict(), "progress": asdict(self.progress)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, trained in self.task.trained.items():
            trained.averaging.load_state_dict(state["averages"][name])
        self.task.load_state_dict(state["task"])
        self.progress = Progress(**state["progress"])


def train(task: Task[BatchT], config: LoopConfig, folder: Path, resume: bool) -> None:
    """Trains a task's models in `folder`, from the start or from the last checkpoint there.

    Raises:
        ValueError: if the folder holds a run and `resume` is False, or `resume` is True and there is none.
        FloatingPointError: if a loss is not finite; it says which one, at which step.
    """
    _check_folder(folder, resume)
    tracker = [] if config.tracker == "none" else [config.tracker]
    # The precision of an earlier run in this process, in a notebook say, must not bind this one.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=config.precision,
        log_with=tracker,
        project_dir=folder,
        step_scheduler_with_optimizer=False,
    )
    for name, trained in task.trained.items():
        log.info("%s: %.2fM weights", name, sum(weight.numel() for weight in trained.network.parameters()) / 1e6)
        if config.compile:
            compile_layers(trained.network)
        trained.model = accelerator.prepare_model(trained.model)
        trained.optimizers = [accelerator.prepare_optimizer(optimizer) for optimizer in trained.optimizers]
        trained.averaging.to(accelerator.device)
    state = _State(task)
    accelerator.register_for_checkpointing(state)
    accelerator.init_trackers("log")
    if resume:
        accelerator.load_state(str(checkpoints(folder / "checkpoints")[-1]))
    _run(task, config, folder, accelerator, state)
    if accelerator.is_main_process:
        task.save(folder / "final", state.progress)
    accelerator.end_training()


def _check_folder(folder: Path, resume: bool) -> None:
    found = checkpoints(folder / "checkpoints")
    if found and not resume:
        raise ValueError(
            f"{folder} already holds a run (last checkpoint: {found[-1].name}); resume it or choose another"
        )
    if resume and not found:
        raise ValueError(f"there is no checkpoint to resume in {folder / 'checkpoints'}")
    folder.mkdir(parents=True, exist_ok=True)


def _run(task: Task[BatchT], config: LoopConfig, folder: Path, accelerator: Accelerator, state: _State) -> None:
    first = state.progress.steps
    batches = _batches(task, config, accelerator, first)
    bar = tqdm(
        total=config.steps,
        initial=first,
        unit="step",
        disable=not accelerator.is_main_process,
        smoothing=0.05,
    )
    meter = _Meter()
    for step in range(first, config.steps):
        chunk = list(islice(batches, config.accumulate))
        losses = _update(task, config, accelerator, step, chunk)
        meter.add(losses, sum(map(len, chunk)) * accelerator.num_processes, state.progress)
        done = step + 1
        bar.update()
        if done % config.log_every == 0 or done == config.steps:
            numbers = meter.read()
            bar.set_postfix({name.removeprefix("loss/"): f"{value:.4g}" for name, value in numbers.items()})
            accelerator.log(numbers | task.report(step), step=done)
        if done % config.validate_every == 0 or done == config.steps:
            _validate(task, accelerator, done)
            meter.restart()
        if done % config.checkpoint_every == 0 or done == config.steps:
            _checkpoint(config, folder, accelerator, done)
            meter.restart()
    bar.close()


def _batches(task: Task[BatchT], config: LoopConfig, accelerator: Accelerator, first: int) -> Iterator[BatchT]:
    """This process's share of the batches from step `first` on: every process takes each n-th."""
    each = config.accumulate * accelerator.num_processes
    start, stop = first * each + accelerator.process_index, config.steps * each
    return iter(loader(task.batches, start, stop, config.workers, stride=accelerator.num_processes))  # type: ignore[arg-type]


def _update(
    task: Task[BatchT], config: LoopConfig, accelerator: Accelerator, step: int, chunk: list[BatchT]
) -> dict[str, float]:
    """One update of all models; returns the losses' means over the chunk."""
    task.before_step(step, chunk, _generator(config, accelerator, step, 0))
    total: dict[str, float] = {}
    for number, batch in enumerate(chunk, start=1):
        with accelerator.autocast():
            losses = task.losses(step, batch, _generator(config, accelerator, step, number))
        for model, terms in losses.items():
            accelerator.backward(_sum(model, terms, step) / len(chunk))
            for name, value in terms.items():
                key = f"loss/{name}" if len(losses) == 1 else f"loss/{model}/{name}"
                total[key] = total.get(key, 0.0) + value.item() / len(chunk)
    for trained in task.trained.values():
        _apply(trained, config, accelerator, step)
    return total


def _sum(model: str, terms: dict[str, Tensor], step: int) -> Tensor:
    for name, value in terms.items():
        if not torch.isfinite(value):
            raise FloatingPointError(f"loss {name} of {model} is {value.item()} at step {step}")
    return torch.stack(list(terms.values())).sum()


def _apply(trained: Trained[Any], config: LoopConfig, accelerator: Accelerator, step: int) -> None:
    accelerator.clip_grad_norm_(trained.model.parameters(), trained.config.clip)
    for optimizer in trained.optimizers:
        set_rate(optimizer, relative_rate(step, config.steps, trained.config))
        optimizer.step()
        optimizer.zero_grad()
    trained.averaging.update_parameters(trained.network)


def _generator(config: LoopConfig, accelerator: Accelerator, step: int, number: int) -> torch.Generator:
    """Randomness that depends on seed, step, process and batch alone, so that a resumed run repeats it."""
    mixed = hash((config.seed, step, accelerator.process_index, number)) % 2**63
    return torch.Generator().manual_seed(mixed)


def _validate(task: Task[BatchT], accelerator: Accelerator, done: int) -> None:
    if accelerator.is_main_process:
        validation = task.validate(done)
        accelerator.log({f"validation/{name}": value for name, value in validation.scalars.items()}, step=done)
        for tracker in accelerator.trackers:
            for name, picture in validation.pictures.items():
                tracker.log_images({name: picture[None].numpy()}, step=done, dataformats="NCHW")
        table = "  ".join(f"{name} {value:.4f}" for name, value in validation.scalars.items())
        log.info("step %d: %s", done, table)
    accelerator.wait_for_everyone()


def _checkpoint(config: LoopConfig, folder: Path, accelerator: Accelerator, done: int) -> None:
    def write(temporary: Path) -> None:
        accelerator.save_state(str(temporary))

    write_checkpoint(folder / "checkpoints", done, config.keep, write)


class _Meter:
    """Means of losses and the rate of clips since it was last read; adds to the run's progress."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.steps, self.clips, self.seconds, self.since = 0, 0, 0.0, time.perf_counter()

    def add(self, losses: dict[str, float], clips: int, progress: Progress) -> None:
        now = time.perf_counter()
        seconds, self.since = now - self.since, now
        self.seconds, self.steps, self.clips = self.seconds + seconds, self.steps + 1, self.clips + clips
        progress.seconds, progress.steps, progress.clips = (
            progress.seconds + seconds,
            progress.steps + 1,
            progress.clips + clips,
        )
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def restart(self) -> None:
        """Leaves out the time since the last step."""
        self.since = time.perf_counter()

    def read(self) -> dict[str, float]:
        means = {name: value / self.steps for name, value in self.sums.items()}
        means["clips/s"] = self.clips / self.seconds
        self.sums, self.steps, self.clips, self.seconds = {}, 0, 0, 0.0
        return means
