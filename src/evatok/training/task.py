"""What a training stage gives to the loop: the models that it trains, batches, losses, validation."""

from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import Dataset

from evatok.training.optimizers import OptimizerConfig, build_optimizers

BatchT = TypeVar("BatchT")


class Trained:
    """A model under training with its optimisers and the moving average of its weights.

    Args:
        model: the model.
        optimizer: how it is updated.
        average: decay of the moving average per step.
    """

    def __init__(self, model: nn.Module, optimizer: OptimizerConfig, average: float) -> None:
        self.model = model
        self.config = optimizer
        self.optimizers: list[Optimizer] = build_optimizers(model, optimizer)
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(average), use_buffers=False)


@dataclass(frozen=True)
class Validation:
    """What validation found: named numbers, and pictures `(3, H, W)` uint8."""

    scalars: dict[str, float]
    pictures: dict[str, Tensor] = field(default_factory=dict)


class Task(Protocol, Generic[BatchT]):
    """A training stage as the loop sees it.

    Attributes:
        trained: the models under training by name.
        batches: item `i` is the batch of micro step `i`, a function of the seed and `i` alone.
    """

    trained: dict[str, Trained]
    batches: Dataset[BatchT]

    def before_step(self, step: int, batches: list[BatchT], generator: torch.Generator) -> None:
        """Whatever a step needs before its losses."""

    def losses(self, step: int, batch: BatchT, generator: torch.Generator) -> dict[str, dict[str, Tensor]]:
        """Weighted losses by model and by name; a model's are added up and minimised over its own weights."""

    def report(self, step: int) -> dict[str, float]:
        """Numbers to log beside the losses."""

    def validate(self, step: int) -> Validation:
        """Numbers and pictures on held-out data, by the averaged weights."""

    def save(self, folder: str) -> None:
        """Writes what the stage is for, by the averaged weights, into a folder."""

    def state_dict(self) -> dict[str, Any]:
        """What the task itself remembers from step to step."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
