"""Parts of tensors: of one process here; of two, which train, in integration/test_processes.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from evatok.training.averaging import Average
from evatok.training.optimizers import OptimizerConfig, build_optimizers
from evatok.training.sharding import full_tensor, here, kept_weights, part, writable
from evatok.training.state import read_state, take_up, write_state
from evatok.training.task import Batch, Item, Progress, Task, Trained


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


class Alone(Task[Batch]):
    """A network, sharded or not."""

    def __init__(self, shard: bool) -> None:
        network, config = nn.Linear(2, 3), OptimizerConfig()
        self.model = Trained(network, config, 0.9)
        self.trained = {"alone": self.model}
        if shard:
            fully_shard(network, mesh=init_device_mesh("cpu", (1,)))
            self.model.optimizers = build_optimizers(network, config)

    def losses(self, step: int, item: Item[Batch]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        yield "alone", {}

    def update(self) -> None:
        self.model.network(torch.ones(1, 2)).sum().backward()
        self.model.optimizers[0].step()
        assert self.model.average is not None
        self.model.average.update(self.model.network)


@pytest.mark.usefixtures("sharded")
@pytest.mark.parametrize("shard_first", [True, False])
def test_a_checkpoint_is_the_same_sharded_or_not(tmp_path: Path, shard_first: bool) -> None:
    first, second = Alone(shard_first), Alone(not shard_first)
    folders = [tmp_path / name / "step_00000001" for name in ("first", "second")]
    for folder in folders:
        folder.mkdir(parents=True)
    first.update()
    write_state(folders[0], first, Progress(steps=1))
    take_up(read_state(folders[0], second, 1)[1], second)
    write_state(folders[1], second, Progress(steps=1))
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert len(contents[0]) == 6 and contents[0] == contents[1]
    for task, shard in ((first, shard_first), (second, not shard_first)):
        kept = [each["exp_avg"] for each in task.model.optimizers[0].state.values()]
        assert [isinstance(each, DTensor) for each in (*kept, task.model.network.weight)] == [shard] * 3
