"""A model under training, and what is validated and saved of it."""

import pytest
import torch
from torch import Tensor, nn

from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Trained


class Tied(nn.Module):
    """Two layers with one weight, and buffers that a checkpoint has and has not."""

    kept: Tensor
    passing: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.register_buffer("kept", torch.zeros(1))
        self.register_buffer("passing", torch.zeros(1), persistent=False)


@pytest.mark.parametrize("decay", [0.5, None])
def test_what_is_validated_has_averaged_weights_and_the_buffers(decay: float | None) -> None:
    trained = Trained(Tied(), OptimizerConfig(), decay)
    network = trained.network
    for value in (0.0, 11.0):
        network.first.weight.data.fill_(value)
        network.kept.fill_(value)
        network.passing.fill_(value)
        if trained.average:
            trained.average.update(network)
    averaged = trained.averaged()
    assert averaged.second.weight is averaged.first.weight
    assert averaged.first.weight[0, 0].item() == (11.0 if decay is None else 9.0)
    assert averaged.kept.item() == averaged.passing.item() == 11
    assert not averaged.training and network.training
    assert not any(weight.requires_grad for weight in averaged.parameters())
    assert all(weight.requires_grad for weight in network.parameters())


def test_before_the_first_step_and_after_a_restart_it_is_the_weights() -> None:
    trained = Trained(nn.Linear(1, 1, bias=False), OptimizerConfig(), 0.5)
    trained.network.weight.data.fill_(3)
    assert trained.averaged().weight.item() == 3
    assert trained.average is not None
    trained.average.update(trained.network)
    trained.network.weight.data.fill_(5)
    assert trained.averaged().weight.item() == 3
    trained.restart_average()
    assert trained.averaged().weight.item() == 5
