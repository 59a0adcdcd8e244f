"""The smallest run that has all that a checkpoint holds, and ways to change its folder as a stranger would."""

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evatok.training.checkpoints import checkpoints, seal
from evatok.training.loop import LoopConfig, train
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Item, Task, Trained
from tests.rivals import Numbers, Series

LOOP = LoopConfig(steps=6, precision="no", nonfinite="skip", checkpoint_every=2, keep_checkpoints=3, tracker="none")


@dataclass(frozen=True)
class ToyConfig:
    """A run of a toy."""

    folder: str
    loop: LoopConfig = LOOP
    width: int = 4
    ema_decay: float | None = 0.9


class Toy(Task[Numbers]):
    """A model with both kinds of optimisers and an average, and one with neither that waits for step 3; a memory.

    What the task remembers is a factor of the first one's loss. Step 1 is not finite and left out.
    """

    fixed = ("width",)

    def __init__(self, config: ToyConfig) -> None:
        torch.manual_seed(0)
        width = config.width
        layers = nn.Sequential(nn.Linear(width, width))
        maker = nn.Sequential(
            OrderedDict(first=nn.Linear(1, width), layers=layers, tanh=nn.Tanh(), last=nn.Linear(width, 1))
        )
        self.trained = {
            "maker": Trained(maker, OptimizerConfig(kind="muon", lr=0.1, warmup=0), config.ema_decay),
            "judge": Trained(nn.Linear(1, 1), OptimizerConfig(lr=0.1, warmup=0), None),
        }
        self.batches = Series({1: math.nan, **{number: number / 8 for number in (0, 2, 3, 4, 5)}})
        self.seen, self.sum = torch.zeros(3, dtype=torch.int64), torch.zeros((), dtype=torch.float64)

    def losses(self, step: int, item: Item[Numbers]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        number = torch.tensor([[item.batch.value]])
        self.seen[step % 3] += 1
        self.sum += 0.1 * step
        made = self.trained["maker"].model(number)
        yield "maker", {"size": (made.square().mean() * (self.seen.sum() + self.sum)).float()}
        yield "judge", {"size": self.trained["judge"].model(number).square().mean()} if step > 2 else {}

    def state_dict(self) -> dict[str, Tensor]:
        return {"seen": self.seen, "sum": self.sum}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.seen, self.sum = state["seen"], state["sum"]


def run(folder: Path, steps: int = 6, resume: bool = False, **values: Any) -> Toy:
    config = ToyConfig(str(folder), replace(LOOP, steps=steps), **values)
    task = Toy(config)
    train(task, config, resume)
    return task


def last(folder: Path) -> Path:
    return checkpoints(folder / "checkpoints")[-1]


def rewrite_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Changes a file as a stranger would, with the checksums that then hold."""
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    seal(path.parent)


def rewrite_tensors(path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    save_file(change(load_file(path)), path)
    seal(path.parent)
