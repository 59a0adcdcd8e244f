"""What a training stage gives to the loop: the models that it trains, batches, losses, validation."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Dataset

from evatok.training.averaging import Average
from evatok.training.optimizers import OptimizerConfig, build_optimizers
from evatok.training.sharding import full_tensor, kept_weights

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
        ema_decay: decay of the moving average per step, which it approaches; None: no average is kept.
    """

    def __init__(self, network: NetworkT, optimizer: OptimizerConfig, ema_decay: float | None) -> None:
        self.network = network
        self.model: nn.Module = network
        self.config = optimizer
        self.optimizers: list[Optimizer] = build_optimizers(network, optimizer)
        self.average = None if ema_decay is None else Average(ema_decay)
        # A copy that costs no memory, made before anything wraps, shards or compiles the network.
        self._form = deepcopy(network, {id(each): each.detach().to("meta") for each in _tensors(network)})

    def averaged(self) -> NetworkT:
        """A network in evaluation mode with the averaged weights, or with the weights themselves before any average.

        They are whole, so all processes must call it; where nothing is sharded it shares memory with what is trained.
        """
        weights = kept_weights(self.network) | (self.average.weights if self.average else {})
        tensors = [nn.Parameter(full_tensor(weight), requires_grad=False) for weight in weights.values()]
        filled = zip(_tensors(self._form), [*tensors, *map(full_tensor, self.network.buffers())], strict=True)
        return deepcopy(self._form, {id(empty): tensor for empty, tensor in filled}).eval()

    def restart_average(self) -> None:
        """Lets the average begin anew with the weights of the next step."""
        if self.average:
            self.average.restart()


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


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


class Task(ABC, Generic[BatchT]):
    """A training stage as the loop sees it; a stage writes what it has beyond these defaults.

    Attributes:
        trained: the models under training by name.
        batches: item `i` is the batch of micro step `i`, a function of the seed and `i` alone.
        fixed: dotted names of the config's entries that a resume cannot change.
        rehearsed: a later step with more losses than the first has, which is tried before it, so that memory fails at
            once; None: all steps are alike.
    """

    fixed: ClassVar[tuple[str, ...]] = ("model", "optimizer.kind")
    trained: Mapping[str, Trained[Any]]
    batches: Dataset[BatchT]
    rehearsed: int | None = None

    @abstractmethod
    def losses(self, step: int, item: Item[BatchT]) -> Iterable[tuple[str, dict[str, Tensor]]]:
        """Weighted losses by name of one model after the other, in the order of `trained`.

        A model's are added up and minimised over its own weights: until the next model's are asked for, the weights of
        all others require no gradient, and then the graph is gone. So this is a generator, which computes a model's
        losses when their turn comes, from what other models gave before, detached.

        A model's own losses call its `model`, once. Inside another model's losses it is called as its plain `network`:
        DDP's wrapper would wait there for gradients that never come.

        A model without losses in a step has `{}`; which have some must depend on the step alone.
        """

    def before_step(self, step: int, items: list[Item[BatchT]], generator: torch.Generator) -> None:
        """Whatever a step needs before its losses; `items` are this process's, `generator` is alike in all of them."""

    def report(self, step: int) -> dict[str, float]:
        """Numbers to log beside the losses."""
        return {}

    def validate(self, step: int) -> Validation:
        """Numbers and pictures on held-out data, by the averaged weights; every process does its share."""
        return Validation({})

    def save(self, folder: Path) -> None:
        """Writes what the stage is for, by the averaged weights, into a folder that it makes.

        Every process calls it, as averaged weights are gathered from all; only the main one writes.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """What the task itself remembers from step to step, of all processes; all must call it.

        Names, shapes and types of the tensors are the same from the first step on; those of whole numbers are counts.
        """
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes back what `state_dict` gave."""
