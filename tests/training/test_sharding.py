"""Parts of tensors: of one process here; of two, which train, in integration/test_processes.py."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from evatok.training.averaging import Average
from evatok.training.sharding import full_tensor, here, kept_weights, part, writable


def test_network_that_is_not_sharded_stays_itself() -> None:
    network = nn.Linear(2, 3)
    with writable(network), torch.no_grad():
        network.bias.fill_(7)
    assert network.bias.tolist() == [7, 7, 7]
    for name, weight in network.named_parameters():
        assert kept_weights(network)[name] is full_tensor(weight) is weight
        assert part(weight, weight) is weight and here(weight).data_ptr() == weight.data_ptr()


@pytest.fixture
def sharded() -> Iterator[nn.Linear]:
    """A network that FSDP2 shards, over a single process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    torch.manual_seed(0)
    network = nn.Linear(2, 3)
    fully_shard(network, mesh=init_device_mesh("cpu", (1,)))
    yield network
    dist.destroy_process_group()


def test_weights_that_a_pass_has_gathered_are_parts_again(sharded: nn.Linear) -> None:
    with torch.no_grad():
        sharded(torch.ones(1, 2))
    sharded.unshard()  # type: ignore[operator]
    assert not isinstance(sharded.weight, DTensor)
    weights = kept_weights(sharded)
    assert all(isinstance(weight, DTensor) for weight in weights.values())
    changed = here(weights["weight"]).add_(1)
    assert torch.equal(full_tensor(sharded.weight), changed)
    with writable(sharded), torch.no_grad():
        sharded.bias.fill_(7)
    assert full_tensor(sharded.bias).tolist() == [7, 7, 7]


def test_an_average_is_sharded_like_its_weights(sharded: nn.Linear) -> None:
    average, start = Average(0.0), full_tensor(sharded.weight).clone()
    average.update(sharded)
    assert all(isinstance(weight, DTensor) for weight in average.weights.values())
    with writable(sharded), torch.no_grad():
        sharded.weight.zero_()
    average.update(sharded)
    assert not full_tensor(average.weights["weight"]).any()
    with writable(sharded), torch.no_grad():
        sharded.weight.copy_(start)
    average.restart_rows(sharded, "weight", torch.tensor([2]))
    assert torch.equal(full_tensor(average.weights["weight"]), torch.stack((start[0] * 0, start[1] * 0, start[2])))
    state = average.state_dict()
    assert not any(isinstance(value, DTensor) for value in state.values())
    again = Average(0.0)
    again.load_state_dict(state, sharded)
    assert isinstance(again.weights["weight"], DTensor) and again.steps == 2
    assert torch.equal(full_tensor(again.weights["weight"]), state["module.weight"])
