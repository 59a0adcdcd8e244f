"""The moving average of a network's weights."""

from typing import Any

import torch
from torch import Tensor, nn

from evatok.training.sharding import full_tensor, here, kept_weights, part


def check_ema_decay(decay: float | None) -> None:
    """ValueError unless a decay is one, or None for no average."""
    if decay is not None and not 0 <= decay < 1:
        raise ValueError(f"ema_decay must be at least 0 and below 1, or null for no average, got {decay}")


class Average:
    """A moving average, each weight's as sharded as the weight; only what leaves the training is gathered.

    Args:
        decay: per step, in [0, 1); it is less where fewer than about `9 / (1 - decay)` steps have been averaged, so
            that the average begins with a short memory.
    """

    def __init__(self, decay: float) -> None:
        check_ema_decay(decay)
        self.decay = decay
        self.restart()

    def restart(self) -> None:
        """Begins anew with the weights of the next step."""
        self.steps, self.weights = 0, dict[str, Tensor]()

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes in the weights after a step."""
        weights = kept_weights(network)
        if self.steps == 0:
            self.weights = {name: weight.detach().clone() for name, weight in weights.items()}
        else:
            decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(
                [here(self.weights[name]) for name in weights], [*map(here, weights.values())], 1 - decay
            )
        self.steps += 1

    @torch.no_grad()
    def restart_rows(self, network: nn.Module, name: str, rows: Tensor) -> None:
        """Begins anew with some rows of the weight called `name` as they are now; all processes must call it."""
        if self.steps == 0:
            return
        average = full_tensor(self.weights[name])
        average[rows] = full_tensor(kept_weights(network)[name])[rows]
        self.weights[name].copy_(part(average, self.weights[name]))

    def state_dict(self) -> dict[str, Any]:
        """The whole average, under the names that torch's `AveragedModel` has; all processes must call it."""
        weights = {f"module.{name}": full_tensor(weight).cpu() for name, weight in self.weights.items()}
        return {"n_averaged": torch.tensor(self.steps), **weights}

    def load_state_dict(self, state: dict[str, Any], network: nn.Module) -> None:
        """Takes back what `state_dict` gave, sharded as the network is now."""
        self.restart()
        if steps := int(state["n_averaged"]):
            self.steps = steps
            self.weights = {
                name: part(state[f"module.{name}"].to(weight.device), weight).clone()
                for name, weight in kept_weights(network).items()
            }
