"""The moving average of weights."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from evatok.training.averaging import Average


def test_it_begins_with_a_short_memory_and_can_begin_anew() -> None:
    network, average = nn.Linear(1, 1, bias=False), Average(0.5)

    def step(weight: float) -> float:
        network.weight.data.fill_(weight)
        average.update(network)
        return average.weights["weight"].item()

    assert step(4) == 4
    # After one step the decay is 2 / 11, and only later 0.5.
    assert step(8) == pytest.approx(4 * 2 / 11 + 8 * 9 / 11)
    for _ in range(20):
        step(8)
    assert step(0) == pytest.approx(4, abs=1e-3)
    average.restart()
    assert step(1) == 1


def test_rows_begin_anew_alone() -> None:
    network, average = nn.Linear(1, 3, bias=False), Average(0.5)
    network.weight.data.fill_(1)
    average.restart_rows(network, "weight", torch.tensor([0]))
    assert not average.weights
    average.update(network)
    network.weight.data.fill_(9)
    average.restart_rows(network, "weight", torch.tensor([0, 2]))
    assert average.weights["weight"].flatten().tolist() == [9, 1, 9]


def test_it_is_saved_and_loaded_as_torchs_own_is() -> None:
    network, average = nn.Linear(2, 2), Average(0.9)
    theirs = AveragedModel(network)
    theirs.update_parameters(network)
    average.load_state_dict(theirs.state_dict(), network)
    assert average.steps == 1
    state = average.state_dict()
    assert state.keys() == theirs.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in theirs.state_dict().items())
    average.load_state_dict(Average(0.9).state_dict(), network)
    assert average.steps == 0


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=f"ema_decay .* got {decay}"):
        Average(decay)
