"""One update of a task's models: losses, gradients, and the refusal of anything that is not finite."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from statistics import fmean
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from evatok.training.optimizers import relative_rate, set_rate
from evatok.training.sharding import full_tensor, kept_weights
from evatok.training.task import BatchT, Item, Task, Trained

SHOWN = 16  # clips that an error names
_GRADIENT = "gradient/"


class NotFinite(FloatingPointError):
    """A loss or a gradient of a step is not finite; the step has not reached the weights."""


def update(
    task: Task[BatchT], accelerator: Accelerator, step: int, steps: int, items: list[Item[BatchT]], stop: bool = False
) -> tuple[dict[str, float], bool]:
    """One update of all models, of whose `steps` this is the one numbered `step`; `stop`: told to stop after it.

    Returns:
        Losses, means over those of this process's items that had them, by `loss/{model}/{term}`, and the norm of each
        model's gradient by `gradient/{model}`, 0 where it had no losses; and whether any process is told to stop.

    Raises:
        NotFinite: on every process, with the weights, optimisers and averages as they were before.
        ValueError: the task's losses are not those of each model, one after the other.
    """
    names: list[str] = []
    values: list[Tensor] = []
    for number, item in enumerate(items, start=1):
        for model, terms in _gradients(task, accelerator, step, item, len(items), last=number == len(items)):
            names += [f"loss/{model}/{term}" for term in terms]
            values += terms.values()
    for name, trained in task.trained.items():
        names.append(f"{_GRADIENT}{name}")
        weights = kept_weights(trained.network).values()
        values.append(full_tensor(accelerator.clip_grad_norm_(weights, trained.config.max_grad_norm)))
    numbers, wrong, stopped = _read(values, accelerator, stop)
    found = {name: fmean(n for other, n in zip(names, numbers, strict=True) if other == name) for name in names}
    if wrong:
        raise NotFinite(_complaint(found, step, items))
    for trained in task.trained.values():
        _apply(trained, step, steps)
    return found, stopped


def rehearse(task: Task[BatchT], accelerator: Accelerator, step: int, item: Item[BatchT]) -> None:
    """Computes losses and gradients of a later step and forgets them: where memory is too short, now it is known."""
    kept = {name: value.clone() for name, value in task.state_dict().items()}
    # Exchanged, as those of a sharded model are not dropped before.
    for _ in _gradients(task, accelerator, step, item, count=1, last=True):
        pass
    drop_gradients(task)
    task.load_state_dict(kept)


def _gradients(
    task: Task[BatchT], accelerator: Accelerator, step: int, item: Item[BatchT], count: int, last: bool
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Adds an item's gradients, of one model after the other; processes exchange them with the last item only."""
    losses = iter(task.losses(step, item))
    for name, trained in task.trained.items():
        with _alone(task, name), nullcontext() if last else accelerator.no_sync(trained.model):
            with accelerator.autocast():
                model, terms = next(losses, ("nothing", {}))
            if model != name:
                raise ValueError(f"losses must be of {', '.join(task.trained)}, in this order; got {model} for {name}")
            if terms:
                accelerator.backward(torch.stack(list(terms.values())).sum() / count)
        yield name, {term: value.detach() for term, value in terms.items()}
        del terms  # and with it a graph, before the next is made


@contextmanager
def _alone(task: Task[Any], name: str) -> Iterator[None]:
    """Within, no model's weights but this one's require gradients."""
    others = [trained.network for other, trained in task.trained.items() if other != name]
    frozen = [weight for network in others for weight in kept_weights(network).values() if weight.requires_grad]
    for weight in frozen:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(True)


def _read(values: list[Tensor], accelerator: Accelerator, stop: bool) -> tuple[list[float], bool, bool]:
    """This process's values; whether any process has one that is not finite; whether any is to stop.

    It is where a step waits for the device.
    """
    own = torch.stack([value.detach().float().to(accelerator.device, non_blocking=True) for value in values])
    flags = torch.stack((own.isfinite().logical_not().any(), torch.full_like(own[0], stop))).float()
    *numbers, wrong, stopped = torch.cat((own, accelerator.reduce(flags, "sum"))).tolist()
    return numbers, wrong > 0, stopped > 0


def _complaint(found: dict[str, float], step: int, items: list[Item[Any]]) -> str:
    named = {name.replace(_GRADIENT, "the gradient's norm of "): value for name, value in found.items()}
    wrong = [f"{name} is {value}" for name, value in named.items() if not math.isfinite(value)]
    keys = [key for item in items for key in item.batch.keys]
    clips = ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
    what = "; ".join(wrong) or "another process met a value that is not finite"
    return f"at step {step} {what}, with the clips {clips}"


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
    if trained.average:
        trained.average.update(trained.network)
