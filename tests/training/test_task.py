"""A model under training and its moving average."""

import pytest
import torch

from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Trained


def test_the_average_begins_with_a_short_memory_and_can_begin_anew() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    trained = Trained(network, OptimizerConfig(), average=0.5)
    network.weight.data.fill_(4.0)
    trained.averaging.update_parameters(network)
    assert trained.average.weight.item() == 4.0
    network.weight.data.fill_(8.0)
    trained.averaging.update_parameters(network)
    # After one step the decay is 2 / 11, and only later 0.5.
    assert trained.average.weight.item() == pytest.approx(4 * 2 / 11 + 8 * 9 / 11)
    for _ in range(20):
        trained.averaging.update_parameters(network)
    network.weight.data.fill_(0.0)
    trained.averaging.update_parameters(network)
    assert trained.average.weight.item() == pytest.approx(4.0, abs=1e-3)
    trained.restart_average()
    network.weight.data.fill_(1.0)
    trained.averaging.update_parameters(network)
    assert trained.average.weight.item() == 1.0
