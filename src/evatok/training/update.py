"""One update of a task's models: losses, gradients, and the refusal of anything that is not finite."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from evatok.training.optimizers import relative_rate, set_rate
from evatok.training.sharding import whole, whole_weights
from evatok.training.task import BatchT, Item, Task, Trained

SHOWN = 16  # clips that an error names


class NotFinite(FloatingPointError):
    """A loss or a gradient of a step is not finite; the step has not reached the weights."""


def update(
    task: Task[BatchT], accelerator: Accelerator, step: int, steps: int, items: list[Item[BatchT]]
) -> dict[str, float]:
    """One update of all models; returns the losses' means over this process's items.

    Raises:
        NotFinite: on every process, with the weights, optimisers and averages as they were before.
    """
    total: dict[str, float] = {}
    for number, item in enumerate(items, start=1):
        with accelerator.autocast():
            losses = task.losses(step, item)
        for model, terms in losses.items():
            _backward(task.trained[model].model, terms, accelerator, len(items), last=number == len(items))
            for name, value in terms.items():
                key = f"loss/{name}" if len(losses) == 1 else f"loss/{model}/{name}"
                total[key] = total.get(key, 0.0) + value.item() / len(items)
    norms = {
        name: float(whole(accelerator.clip_grad_norm_(trained.model.parameters(), trained.config.clip)))
        for name, trained in task.trained.items()
    }
    _check(total, norms, accelerator, step, items)
    for trained in task.trained.values():
        _apply(trained, step, steps)
    return total


def _backward(model: nn.Module, terms: Mapping[str, Tensor], accelerator: Accelerator, count: int, last: bool) -> None:
    """Adds a batch's gradients; processes exchange them with the last batch only."""
    loss = torch.stack(list(terms.values())).sum() / count
    if last:
        accelerator.backward(loss)
    else:
        with accelerator.no_sync(model):
            accelerator.backward(loss)


def _check(
    losses: Mapping[str, float],
    norms: Mapping[str, float],
    accelerator: Accelerator,
    step: int,
    items: list[Item[Any]],
) -> None:
    wrong = [f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value)]
    wrong += [f"the gradient's norm of {name} is {value}" for name, value in norms.items() if not math.isfinite(value)]
    if not anywhere(bool(wrong), accelerator):
        return
    keys = [key for item in items for key in item.batch.keys]
    clips = ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
    what = "; ".join(wrong) or "another process met a value that is not finite"
    raise NotFinite(f"at step {step} {what}, with the clips {clips}")


def anywhere(flag: bool, accelerator: Accelerator) -> bool:
    """Whether `flag` is true on any process; all must call it."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)).item() > 0)


def drop_gradients(task: Task[Any]) -> None:
    """Forgets the gradients of a step that is left out."""
    for trained in task.trained.values():
        for optimizer in trained.optimizers:
            optimizer.zero_grad()


def _apply(trained: Trained[Any], step: int, steps: int) -> None:
    for optimizer in trained.optimizers:
        set_rate(optimizer, relative_rate(step, steps, trained.config))
        optimizer.step()
        optimizer.zero_grad()
    trained.averaging.update_parameters(whole_weights(trained.network))
