"""Models and optimisers as accelerate runs them, sharded where it was launched with `fsdp_version: 2`."""

import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    ProjectConfiguration,
    is_torch_version,
)

from evatok.training.task import Trained


def new_accelerator(precision: str, tracker: str | None, folder: Path) -> Accelerator:
    """accelerate for a run in a folder, on all the processes that were launched, with a tracker of its own or none."""
    # The precision of an earlier run in this process, in a notebook say, must not bind this one.
    AcceleratorState._reset_state()
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return Accelerator(
        # Several processes without a GPU would otherwise not know of each other.
        cpu=several and not torch.accelerator.is_available(),
        mixed_precision=precision,
        log_with=tracker,
        project_config=ProjectConfiguration(str(folder), logging_dir=str(folder / "log")),
        step_scheduler_with_optimizer=False,
        # A stage may leave some weights out of a step, as the codebook before it is drawn.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def prepare(accelerator: Accelerator, models: Collection[Trained[Any]]) -> None:
    """Hands models and their optimisers to accelerate, which shards them if it was launched so.

    Raises:
        ValueError: it was launched with FSDP's first version, or torch is too old to shard these models.
    """
    sharded = accelerator.distributed_type == DistributedType.FSDP
    if sharded:
        _set_up(accelerator)
    layers = accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap if sharded else None
    for trained in models:
        if layers is not None:
            # A model that has none of the layers is one piece; accelerate would refuse it.
            found = {type(module).__name__ for module in trained.network.modules()}
            accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap = [name for name in layers if name in found]
        trained.model, *trained.optimizers = accelerator.prepare(trained.model, *trained.optimizers)
    if sharded:
        # Where it knows of models, clipping looks for one that has just these weights by comparing their values.
        accelerator.free_memory()


def _set_up(accelerator: Accelerator) -> None:
    plugin = accelerator.state.fsdp_plugin
    if plugin.fsdp_version != 2:
        raise ValueError(f"fsdp_version must be 2, got {plugin.fsdp_version}")
    # Earlier ones lose gradients of modules that return dataclasses (pytorch#174692), without a word.
    if not is_torch_version(">=", "2.13"):
        raise ValueError(f"sharding needs torch 2.13 or later, got {torch.__version__}")
    # As without sharding, weights are float32 and autocast alone decides what is computed in half precision.
    plugin.mixed_precision_policy = None
    # Every process has made all weights itself.
    plugin.cpu_ram_efficient_loading = False
    # It warns of writing into what a module returns, which nothing does.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
