"""Processes that work on one thing together: which of them this is, and what all of them hold."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

ValueT = TypeVar("ValueT")


def rank_and_world() -> tuple[int, int]:
    """Number of this process, from 0 on, and how many there are; (0, 1) where there is no process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def gathered(value: ValueT) -> list[ValueT]:
    """What each process gives, in their order, on every one of them. All must call it; tensors must be on the CPU."""
    count = rank_and_world()[1]
    if count == 1:
        return [value]
    values: list[Any] = [None] * count
    dist.all_gather_object(values, value)
    return values


def meet() -> None:
    """Processes that were launched together find each other now, rather than when accelerate prepares their models."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState  # comes with the extra `train`

        PartialState(cpu=not torch.accelerator.is_available())


def by_one(make: Callable[[], ValueT]) -> ValueT:
    """What the first process makes, or the exception that it meets, on every one of them. All must call it."""
    if not (dist.is_available() and dist.is_initialized()):
        return make()
    made: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            made[0] = make()
        except Exception as error:
            made[1] = error
    dist.broadcast_object_list(made)
    if made[1] is not None:
        raise made[1]
    return made[0]


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean over all processes of a tensor of one shape, without a gradient. All must call it."""
    count = rank_and_world()[1]
    if count == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / count
