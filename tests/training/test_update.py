"""A step whose loss or gradient is not finite is named and never reaches the weights."""

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from evatok.training.loop import SKIPS_IN_A_ROW, LoopConfig, train
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Item, Progress, Trained, Validation
from evatok.training.update import NotFinite

LOOP = LoopConfig(steps=6, precision="no", log_every=1, validate_every=99, checkpoint_every=99, tracker="none")


@dataclass(frozen=True)
class Numbers:
    """A batch of one number."""

    value: float
    keys: list[str]

    def __len__(self) -> int:
        return 1


class Series(Dataset[Numbers]):
    """Item `i` is the number `i`, or what `spoiled` has in its place."""

    def __init__(self, spoiled: dict[int, float]) -> None:
        self.spoiled = spoiled

    def __getitem__(self, index: int) -> Numbers:
        return Numbers(self.spoiled.get(index, 1.0), [f"clip {index}"])


class Line:
    """Trains one weight; a number of 0 has a finite loss whose gradient is not."""

    def __init__(self, spoiled: dict[int, float]) -> None:
        torch.manual_seed(0)
        self.trained = {"line": Trained(torch.nn.Linear(1, 1, bias=False), OptimizerConfig(warmup=0), 0.9)}
        self.batches = Series(spoiled)
        self.weights: list[Tensor] = []
        self.saved: Progress | None = None

    def before_step(self, step: int, items: list[Item[Numbers]], generator: torch.Generator) -> None:
        self.weights.append(deepcopy(self.trained["line"].network.weight.detach()))

    def losses(self, step: int, item: Item[Numbers]) -> dict[str, dict[str, Tensor]]:
        output = self.trained["line"].model(torch.tensor([[item.batch.value]]))
        return {"line": {"root": (output - output.detach() + item.batch.value).sqrt().mean()}}

    def report(self, step: int) -> dict[str, float]:
        return {}

    def validate(self, step: int) -> Validation:
        return Validation({})

    def gather(self) -> None: ...

    def save(self, folder: Path, progress: Progress) -> None:
        self.saved = progress

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def test_stop_names_step_term_and_clip(tmp_path: Path) -> None:
    task = Line({3: -1.0})
    with pytest.raises(NotFinite, match=r"at step 3 loss/root is nan.*with the clips clip 3"):
        train(task, LOOP, tmp_path, resume=False)
    assert torch.equal(task.trained["line"].network.weight, task.weights[3])


def test_a_gradient_that_is_not_finite_counts_too(tmp_path: Path) -> None:
    task = Line({2: 0.0})
    with pytest.raises(NotFinite, match=r"at step 2 the gradient's norm of line is (inf|nan), with the clips clip 2"):
        train(task, LOOP, tmp_path, resume=False)


def test_skip_leaves_the_step_out_and_counts_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = Line({1: torch.inf, 4: -1.0})
    train(task, replace(LOOP, nonfinite="skip"), tmp_path, resume=False)
    changed = [not torch.equal(a, b) for a, b in zip(task.weights, task.weights[1:], strict=False)]
    assert changed == [True, False, True, True, False]
    assert task.saved is not None and (task.saved.steps, task.saved.skipped) == (6, 2)
    assert torch.isfinite(task.trained["line"].average.weight).all()
    skipped = [record.getMessage() for record in caplog.records if record.getMessage().startswith("skipped")]
    assert len(skipped) == 2 and "clip 1" in skipped[0] and "clip 4" in skipped[1]


def test_skip_gives_up_where_nothing_is_finite(tmp_path: Path) -> None:
    task = Line(dict.fromkeys(range(99), -1.0))
    with pytest.raises(NotFinite, match=f"{SKIPS_IN_A_ROW} steps in a row"):
        train(task, replace(LOOP, nonfinite="skip", steps=99), tmp_path, resume=False)
