"""Optimisers and their learning-rate schedule."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from evatok.training.muon import Float32Muon
from evatok.training.precision import native_precision


@dataclass(frozen=True)
class OptimizerConfig:
    """How a model's weights are updated.

    Args:
        kind: `adamw`, or `muon` for Muon on the matrices of transformer layers and AdamW on everything else.
        lr: peak learning rate of AdamW.
        muon_lr: peak learning rate of Muon, on updates scaled to AdamW's typical size.
        schedule: how learning rates go from their peak to `final` after the warm-up: along a `cosine` (paper: 1e-4 to
            1e-6), `linear`, or `wsd`, which stays at the peak and falls linearly at the end.
        final: learning rates at the end of the schedule, relative to the peak.
        warmup: steps of linear warm-up.
        decay: share of all steps in which `wsd` falls, in (0, 1].
        betas: AdamW's decay rates.
        weight_decay: decoupled weight decay of matrices; vectors have none.
        max_grad_norm: largest norm of the gradient, which is scaled down to it.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-4
    muon_lr: float = 2e-3
    schedule: Literal["cosine", "linear", "wsd"] = "cosine"
    final: float = 0.01
    warmup: int = 1000
    decay: float = 0.2
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 1e-4
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("lr", "muon_lr", "max_grad_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.final <= 1:
            raise ValueError(f"final must be between 0 and 1, got {self.final}")
        if self.warmup < 0:
            raise ValueError(f"warmup must not be negative, got {self.warmup}")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1, got {self.decay}")


def build_optimizers(model: nn.Module, config: OptimizerConfig) -> list[Optimizer]:
    """The optimisers of a model's trainable weights; their groups remember the peak rate as `peak_lr`."""
    trainable = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    matrices = [weight for name, weight in trainable.items() if weight.ndim == 2 and "layers." in name]
    by_muon = {id(weight) for weight in matrices} if config.kind == "muon" else set()
    rest = [weight for weight in trainable.values() if id(weight) not in by_muon]
    decayed = {"params": [weight for weight in rest if weight.ndim >= 2], "weight_decay": config.weight_decay}
    plain = {"params": [weight for weight in rest if weight.ndim < 2], "weight_decay": 0.0}
    optimizers: list[Optimizer] = [AdamW([decayed, plain], lr=config.lr, betas=config.betas, fused=True)]
    if by_muon:
        muon = torch.optim.Muon if native_precision() == "bf16" else Float32Muon
        optimizers.append(
            muon(matrices, lr=config.muon_lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def remembered(optimizer: Optimizer, weight: Tensor) -> dict[str, Tensor]:
    """Tensors like those that an optimiser of `build_optimizers` remembers of a weight from its first update on."""
    if "momentum" in optimizer.defaults:
        return {"momentum_buffer": weight}
    return {"step": torch.tensor(0.0), "exp_avg": weight, "exp_avg_sq": weight}


def relative_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Learning rate at a step over its peak: linear warm-up, then the config's schedule down to `final` at `steps`."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    stable = steps * (1 - config.decay) if config.schedule == "wsd" else 0
    start = max(config.warmup, stable)
    progress = min(max((step - start) / max(steps - start, 1), 0.0), 1.0)
    left = (1 + math.cos(math.pi * progress)) / 2 if config.schedule == "cosine" else 1 - progress
    return config.final + (1 - config.final) * left


def set_rate(optimizer: Optimizer, relative: float) -> None:
    """Sets every group's learning rate to a share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * relative
