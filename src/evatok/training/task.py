"""What a training stage gives to the loop: the models that it trains, batches, losses, validation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Dataset

from evatok.training.optimizers import OptimizerConfig, build_optimizers

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class Batch(Protocol):
    """What the loop knows of a batch: how many clips it has, and where each comes from."""

    @property
    def keys(self) -> list[str]:
        """Names of the clips."""

    def __len__(self) -> int: ...


BatchT = TypeVar("BatchT", bound=Batch)


@dataclass(frozen=True)
class Item(Generic[BatchT]):
    """A batch, and the seed of what is drawn for it, which no number of processes and no resume changes."""

    batch: BatchT
    seed: int

    def generator(self) -> torch.Generator:
        """A new generator, the same each time."""
        return torch.Generator().manual_seed(self.seed)


class Trained(Generic[NetworkT]):
    """A model under training with its optimisers and the moving average of its weights.

    `network` is the model itself; `model` is what a training pass calls: the loop wraps it for precision and processes.

    Args:
        network: the model.
        optimizer: how it is updated.
        average: decay of the moving average per step, which it approaches: the average begins with a short memory.
    """

    def __init__(self, network: NetworkT, optimizer: OptimizerConfig, average: float) -> None:
        self.network = network
        self.model: nn.Module = network
        self.config = optimizer
        self.optimizers: list[Optimizer] = build_optimizers(network, optimizer)
        self.averaging = AveragedModel(network, multi_avg_fn=_moving_average(average), use_buffers=False)

    @property
    def average(self) -> NetworkT:
        """The model with averaged weights."""
        return cast(NetworkT, self.averaging.module)

    def restart_average(self) -> None:
        """Lets the average begin anew with the weights of the next step."""
        self.averaging.n_averaged.zero_()


def _moving_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Updates averages by `decay`, or by less where fewer than about `9 / (1 - decay)` steps have been averaged."""

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], steps: Tensor | int) -> None:
        now = min(decay, (1 + int(steps)) / (10 + int(steps)))
        torch._foreach_lerp_(list(averages), list(weights), 1 - now)

    return update


@dataclass(frozen=True)
class Validation:
    """What validation found: named numbers, and pictures `(3, H, W)` uint8."""

    scalars: dict[str, float]
    pictures: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Progress:
    """How far a run is, over all its resumes.

    Args:
        steps: steps behind it, skipped ones included.
        clips: clips seen, by all processes.
        seconds: of training, without validation.
        skipped: steps left out because something in them was not finite.
        validations: what each validation found by then: `steps`, `clips`, `seconds`, and its numbers as `scalars`.
    """

    steps: int = 0
    clips: int = 0
    seconds: float = 0.0
    skipped: int = 0
    validations: list[dict[str, Any]] = field(default_factory=list)


class Task(Protocol, Generic[BatchT]):
    """A training stage as the loop sees it."""

    @property
    def trained(self) -> Mapping[str, Trained[Any]]:
        """The models under training by name."""

    @property
    def batches(self) -> Dataset[BatchT]:
        """Item `i` is the batch of micro step `i`, a function of the seed and `i` alone."""

    def before_step(self, step: int, items: list[Item[BatchT]], generator: torch.Generator) -> None:
        """Whatever a step needs before its losses; `items` are this process's, `generator` is alike in all of them."""

    def losses(self, step: int, item: Item[BatchT]) -> dict[str, dict[str, Tensor]]:
        """Weighted losses by model and by name; a model's are added up and minimised over its own weights."""

    def report(self, step: int) -> dict[str, float]:
        """Numbers to log beside the losses."""

    def validate(self, step: int) -> Validation:
        """Numbers and pictures on held-out data, by the averaged weights; every process does its share."""

    def gather(self) -> None:
        """Brings to the main process what processes remember apart from each other; a checkpoint follows."""

    def save(self, folder: Path, progress: "Progress") -> None:
        """Writes what the stage is for, by the averaged weights, into a folder."""

    def state_dict(self) -> dict[str, Any]:
        """What the task itself remembers from step to step."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
