"""The one training loop: accelerate for devices, precision and processes; checkpoints, resume, trackers."""

import logging
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from tqdm import tqdm

from evatok.data.loading import loader
from evatok.nn.transformer import compilations, compile_layers, recompute_layers
from evatok.training.checkpoints import checkpoints, making_checkpoint
from evatok.training.meter import Meter
from evatok.training.precision import native_precision
from evatok.training.preparing import new_accelerator, prepare
from evatok.training.reading import few
from evatok.training.resuming import RunConfig
from evatok.training.state import read_last, take_up, write_state
from evatok.training.stopping import Stopped, StopSignal
from evatok.training.task import Item, Progress, Task
from evatok.training.tracking import check_name, installed, log_pictures
from evatok.training.update import NotFinite, drop_gradients, rehearse, update
from evatok.utils.configs import check_least
from evatok.utils.files import write_json
from evatok.utils.saving import WEIGHTS

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
        recompute: computes transformer layers again in the backward pass instead of keeping what is in them: less
            memory for more time (`recompute_layers`).
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
    recompute: bool = False
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
        check_least(
            self, 1, "steps", "accumulate", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints"
        )
        check_least(self, 0, "seed", "workers")

    def on_this_machine(self) -> "LoopConfig":
        """The same with the precision that `auto` comes to."""
        return replace(self, precision=native_precision()) if self.precision == "auto" else self


class StageConfig(Protocol):
    """A stage's config, a dataclass, as the loop sees it: where the run is kept, how long and how it trains."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def folder(self) -> str: ...

    @property
    def loop(self) -> LoopConfig: ...


def train(task: Task[Any], config: StageConfig, resume: bool = False, *, validate_first: bool = False) -> Path:
    """Trains a task's models in the config's folder, from the start or from the last checkpoint there.

    Args:
        task: what is trained.
        config: of the stage.
        resume: whether to go on from the last checkpoint in the folder.
        validate_first: whether the models are good before the first step, so that validation begins there.

    Returns:
        The folder of the result, `final`.

    Raises:
        ValueError: if the folder holds a run and `resume` is False; or `resume` is True and there is none, or it was
            begun with other values of `task.fixed`, or its last checkpoint is damaged or beyond `loop.steps`.
        NotFinite: if a loss or a gradient is not finite and `loop.nonfinite` is `stop`, or `skip` has left out
            `SKIPS_IN_A_ROW` steps one after another.
        Stopped: after SIGTERM; a checkpoint has been written.
        OSError: if something cannot be written; the last complete checkpoint is as it was.
    """
    folder, loop = Path(config.folder), config.loop.on_this_machine()
    config = replace(config, loop=loop)
    _check_folder(folder, resume)
    if loop.precision == "bf16" and native_precision() != "bf16":
        log.warning("this machine emulates bf16, which is very slow: loop.precision `auto` or `no` is float32")
    log.info("precision: %s", "float32" if loop.precision == "no" else loop.precision)
    accelerator = new_accelerator(loop.precision, installed(loop.tracker), folder)
    record = RunConfig(folder, config, resume)
    if (differing := record.differences(task.fixed)) and accelerator.is_main_process:
        log.warning("the run goes on with other values than before:\n  %s", few(differing, 20, "\n  "))
    for name, trained in task.trained.items():
        log.info("%s: %.2fM weights", name, sum(weight.numel() for weight in trained.network.parameters()) / 1e6)
        if loop.compile:
            compile_layers(trained.network)
        if loop.recompute:
            recompute_layers(trained.network)
    prepare(accelerator, task.trained.values())
    progress = Progress()
    if resume:
        progress, found = read_last(folder / "checkpoints", task, loop.steps)
        take_up(found, task)
    accelerator.init_trackers("evatok")
    if accelerator.is_main_process:
        record.write(progress.steps)
    run = _Run(task, config, accelerator, progress)
    if validate_first and not resume:
        run.validate()
    with StopSignal() as stop:
        run.run(stop)
    run.export(folder / "final")
    accelerator.end_training()
    return folder / "final"


def _check_folder(folder: Path, resume: bool) -> None:
    found = checkpoints(folder / "checkpoints")
    if found and not resume:
        raise ValueError(
            f"{folder} already holds a run (last checkpoint: {found[-1].name}); resume it or choose another"
        )
    if resume and not found:
        raise ValueError(f"there is no checkpoint to resume in {folder / 'checkpoints'}")
    for place in (folder, folder / "final"):
        if not resume and (place / WEIGHTS).exists():
            raise ValueError(f"{place} holds a model, which this run would replace; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)


class _Run:
    """A run under way."""

    def __init__(self, task: Task[Any], config: StageConfig, accelerator: Accelerator, progress: Progress) -> None:
        self.task, self.config, self.accelerator, self.progress = task, config, accelerator, progress
        self.loop, self.folder = config.loop, Path(config.folder)

    def run(self, stop: StopSignal) -> None:
        """The steps that are left."""
        task, loop, progress, accelerator = self.task, self.loop, self.progress, self.accelerator
        first = progress.steps
        if task.rehearsed is not None and first < task.rehearsed < loop.steps:
            number = self._numbers(first)[0]
            rehearse(task, accelerator, task.rehearsed, Item(task.batches[number], _seed(loop.seed, 1, number)))
        if first and first % loop.validate_every == 0 and first not in [each["steps"] for each in progress.validations]:
            # A run that is stopped at such a step has no time for it.
            self.validate()
        meter, skips = Meter(progress), 0
        bar = tqdm(
            total=loop.steps, initial=first, unit="step", disable=not accelerator.is_main_process, smoothing=0.05
        )
        # Processes that make batches end with the loop, not when this frame is collected: nobody waits for them then.
        with closing(self._items(first)) as items, bar:
            for step in range(first, loop.steps):
                chunk = list(islice(items, loop.accumulate))
                with accelerator.autocast():
                    task.before_step(step, chunk, torch.Generator().manual_seed(_seed(loop.seed, 0, step)))
                try:
                    losses, stopped = update(task, accelerator, step, loop.steps, chunk, stop.received)
                    skips = 0
                except NotFinite as error:
                    skips += 1
                    self._skip(error, skips)
                    losses, stopped = {}, False
                meter.add(losses, sum(len(item.batch) for item in chunk) * accelerator.num_processes)
                done = progress.steps
                last = stopped or done == loop.steps
                bar.update()
                if done % loop.log_every == 0 or last:
                    numbers = meter.read() | ({"compiled": compilations()} if loop.compile else {})
                    shown = {name: value for name, value in numbers.items() if not name.startswith("gradient/")}
                    bar.set_postfix({name.removeprefix("loss/"): f"{value:.4g}" for name, value in shown.items()})
                    accelerator.log(numbers | task.report(step), step=done)
                if not stopped and (done % loop.validate_every == 0 or last):
                    self.validate()
                    meter.restart()
                if done % loop.checkpoint_every == 0 or last:
                    self.checkpoint()
                    meter.restart()
                if stopped:
                    raise Stopped(f"stopped at step {done} of {loop.steps}; everything is saved in {self.folder}")

    def _items(self, first: int) -> Generator[Item[Any], None, None]:
        """This process's share of the batches from step `first` on: every process takes each n-th."""
        numbers = self._numbers(first)
        batches: Iterator[Any] = loader(self.task.batches, numbers, self.loop.workers)
        for number, batch in zip(numbers, batches, strict=True):
            yield Item(batch, _seed(self.loop.seed, 1, number))

    def _numbers(self, first: int) -> range:
        """This process's micro steps from step `first` on."""
        stride = self.accelerator.num_processes
        each = self.loop.accumulate * stride
        return range(first * each + self.accelerator.process_index, self.loop.steps * each, stride)

    def _skip(self, error: NotFinite, skips: int) -> None:
        """Leaves a step out, the last of so many in a row, if the config lets it."""
        if self.loop.nonfinite == "stop":
            raise error
        if skips == SKIPS_IN_A_ROW:
            raise NotFinite(f"{SKIPS_IN_A_ROW} steps in a row are not finite; the last: {error}") from error
        log.warning("skipped: %s", error)
        drop_gradients(self.task)
        self.progress.skipped += 1

    def validate(self) -> None:
        """Logs and remembers what validation finds."""
        progress, accelerator = self.progress, self.accelerator
        validation = self.task.validate(progress.steps)
        reached = {"steps": progress.steps, "clips": progress.clips, "seconds": progress.seconds}
        progress.validations.append({**reached, "scalars": validation.scalars})
        if accelerator.is_main_process:
            scalars = {f"validation/{name}": value for name, value in validation.scalars.items()}
            accelerator.log(scalars, step=progress.steps)
            for tracker in accelerator.trackers:
                log_pictures(tracker, validation.pictures, progress.steps)
            table = "  ".join(f"{name} {value:.4f}" for name, value in validation.scalars.items())
            log.info("step %d: %s", progress.steps, table)
        accelerator.wait_for_everyone()

    def checkpoint(self) -> None:
        """Writes a checkpoint: all that a resume needs, and in `export` what the stage is for, as it is now."""
        place, main = self.folder / "checkpoints", self.accelerator.is_main_process
        making = making_checkpoint(place, self.progress.steps, self.loop.keep_checkpoints)
        # All processes gather what the main one writes.
        with making if main else nullcontext(place) as folder:
            write_state(folder, self.task, self.progress)
            self.export(folder / "export")
        self.accelerator.wait_for_everyone()

    def export(self, folder: Path) -> None:
        """Writes what the stage is for, and `training.json`, which says how it came about."""
        self.task.save(folder)
        if self.accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            about = {"seed": self.loop.seed, "config": asdict(self.config)}
            write_json(folder / "training.json", asdict(self.progress) | about)


def _seed(*numbers: int) -> int:
    """One seed out of several numbers: randomness depends on the run's seed and the place in it alone."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
