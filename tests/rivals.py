"""Two models trained against each other, here and as a program for several processes: `python -m tests.rivals ...`."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.data import Dataset

from evatok.training.loop import LoopConfig, train
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Item, Task, Trained
from evatok.utils.ranks import rank_and_world
from tests.runs import shard_without_gpus


@dataclass(frozen=True)
class Numbers:
    """A batch of one number."""

    value: float
    keys: list[str]

    def __len__(self) -> int:
        return 1


@dataclass(frozen=True)
class RunOf:
    """As much of a stage's config as the loop asks for."""

    folder: str
    loop: LoopConfig


class Series(Dataset[Numbers]):
    """Item `i` is the number `i`, or what `spoiled` has in its place."""

    def __init__(self, spoiled: dict[int, float]) -> None:
        self.spoiled = spoiled

    def __getitem__(self, index: int) -> Numbers:
        return Numbers(self.spoiled.get(index, 1.0), [f"clip {index}"])


class Rivals(Task[Numbers]):
    """Two models that each want what the other does not, with a weight that is frozen anyway."""

    def __init__(self, lr: float = 0.05, ema_decay: float | None = 0.9) -> None:
        torch.manual_seed(0)
        maker, judge = (nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)) for _ in range(2))
        judge[0].bias.requires_grad_(False)
        optimizer = OptimizerConfig(lr=lr, warmup=0, max_grad_norm=0.1)
        self.trained = {"maker": Trained(maker, optimizer, ema_decay), "judge": Trained(judge, optimizer, None)}
        self.batches = Series({index: float(index) for index in range(99)})
        self.graph: Tensor | None = None

    def losses(self, step: int, item: Item[Numbers]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        maker, judge = self.trained["maker"], self.trained["judge"]
        number = torch.tensor([[item.batch.value]])
        made = maker.model(number)
        assert not any(weight.requires_grad for weight in judge.network.parameters())
        self.graph = made.square().mean()
        yield "maker", {"size": self.graph, "judged": -judge.network(made).mean()}
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            self.graph.backward()
        assert not any(weight.requires_grad for weight in maker.network.parameters())
        judged = judge.model(torch.cat((number, made.detach())))
        # One of them belongs to every other step only.
        yield "judge", {"real": -judged[0].mean()} | ({"made": judged[1].mean()} if step % 2 else {})

    def save(self, folder: Path) -> None:
        averaged = {name: trained.averaged() for name, trained in self.trained.items()}
        if rank_and_world()[0] == 0:
            torch.save({name: network.state_dict() for name, network in averaged.items()}, folder.parent / "final.pt")


if __name__ == "__main__":
    run, accumulate, *words = sys.argv[1:]
    if words == ["--shard"]:
        shard_without_gpus()
    loop = LoopConfig(steps=4, accumulate=int(accumulate), precision="no", checkpoint_every=2, tracker="none")
    task = Rivals()
    train(task, RunOf(run, loop))
    weights = [weight for trained in task.trained.values() for weight in trained.network.parameters()]
    assert {isinstance(weight, DTensor) for weight in weights} == {words == ["--shard"]}
