"""Updates: of models against each other, each by its own losses, and of nothing that is not finite."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from evatok.training.loop import SKIPS_IN_A_ROW, LoopConfig, train
from evatok.training.optimizers import OptimizerConfig, build_optimizers, relative_rate, set_rate
from evatok.training.preparing import prepare
from evatok.training.task import Item, Task, Trained
from evatok.training.update import NotFinite, update
from tests.rivals import Numbers, Rivals, RunOf, Series

LOOP = LoopConfig(steps=6, precision="no", log_every=1, validate_every=99, checkpoint_every=99, tracker="none")


class Line(Task[Numbers]):
    """Trains one weight; a number of 0 has a finite loss whose gradient is not."""

    def __init__(self, spoiled: dict[int, float]) -> None:
        torch.manual_seed(0)
        self.trained = {"line": Trained(torch.nn.Linear(1, 1, bias=False), OptimizerConfig(warmup=0), 0.9)}
        self.batches = Series(spoiled)
        self.weights: list[Tensor] = []

    def before_step(self, step: int, items: list[Item[Numbers]], generator: torch.Generator) -> None:
        self.weights.append(deepcopy(self.trained["line"].network.weight.detach()))

    def losses(self, step: int, item: Item[Numbers]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        output = self.trained["line"].model(torch.tensor([[item.batch.value]]))
        yield "line", {"root": (output - output.detach() + item.batch.value).sqrt().mean()}


def test_stop_names_step_term_and_clip(tmp_path: Path) -> None:
    task = Line({3: -1.0})
    with pytest.raises(NotFinite, match=r"at step 3 loss/line/root is nan.*with the clips clip 3"):
        train(task, RunOf(str(tmp_path), LOOP))
    assert torch.equal(task.trained["line"].network.weight, task.weights[3])


def test_a_gradient_that_is_not_finite_counts_too(tmp_path: Path) -> None:
    task = Line({2: 0.0})
    with pytest.raises(NotFinite, match=r"at step 2 the gradient's norm of line is (inf|nan), with the clips clip 2"):
        train(task, RunOf(str(tmp_path), LOOP))


def test_skip_leaves_the_step_out_and_counts_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = Line({1: torch.inf, 4: -1.0})
    train(task, RunOf(str(tmp_path), replace(LOOP, nonfinite="skip")))
    changed = [not torch.equal(a, b) for a, b in zip(task.weights, task.weights[1:], strict=False)]
    assert changed == [True, False, True, True, False]
    progress = json.loads((tmp_path / "final" / "training.json").read_text())
    assert (progress["steps"], progress["skipped"]) == (6, 2)
    assert torch.isfinite(task.trained["line"].averaged().weight).all()
    skipped = [record.getMessage() for record in caplog.records if record.getMessage().startswith("skipped")]
    assert len(skipped) == 2 and "clip 1" in skipped[0] and "clip 4" in skipped[1]


def test_skip_gives_up_where_nothing_is_finite(tmp_path: Path) -> None:
    task = Line(dict.fromkeys(range(99), -1.0))
    with pytest.raises(NotFinite, match=f"{SKIPS_IN_A_ROW} steps in a row"):
        train(task, RunOf(str(tmp_path), replace(LOOP, nonfinite="skip", steps=99)))


def by_hand(networks: dict[str, nn.Module], task: Rivals, steps: int) -> None:
    """What `steps` updates of two items each make of the networks, if no loss moves the other's."""
    maker, judge = networks.values()
    optimizers = [build_optimizers(network, task.trained["maker"].config)[0] for network in (maker, judge)]
    for step in range(steps):
        numbers = torch.tensor([[2.0 * step], [2.0 * step + 1]])
        made = maker(numbers)
        judged = judge(numbers) * -1 + judge(made.detach()) * (step % 2)
        for network, loss in ((maker, made.square() - judge(made)), (judge, judged)):
            weights = [weight for weight in network.parameters() if weight.requires_grad]
            for weight, gradient in zip(weights, torch.autograd.grad(loss.mean(), weights), strict=True):
                weight.grad = gradient
            nn.utils.clip_grad_norm_(weights, 0.1)
        for optimizer in optimizers:
            set_rate(optimizer, relative_rate(step, steps, task.trained["maker"].config))
            optimizer.step()


def test_of_two_models_trained_against_each_other_neither_moves_the_other() -> None:
    task, accelerator = Rivals(), Accelerator(cpu=True)
    expected = {name: deepcopy(trained.network) for name, trained in task.trained.items()}
    start = deepcopy(expected)
    by_hand(expected, task, 3)
    prepare(accelerator, task.trained.values())
    for step in range(3):
        items = [Item(task.batches[2 * step + number], 0) for number in (0, 1)]
        update(task, accelerator, step, 3, items)
    for name, trained in task.trained.items():
        for key, weight in trained.network.named_parameters():
            torch.testing.assert_close(weight, expected[name].get_parameter(key))
            frozen = (name, key) == ("judge", "0.bias")
            assert weight.requires_grad is not frozen
            assert torch.equal(weight, start[name].get_parameter(key)) is frozen


def test_terms_are_means_over_the_steps_that_have_them(tmp_path: Path) -> None:
    logged: list[dict[str, float]] = []

    class Noted(Rivals):
        def losses(self, step: int, item: Item[Numbers]) -> Iterator[tuple[str, dict[str, Tensor]]]:
            for model, terms in super().losses(step, item):
                # Values of their own, and the gradients of the others.
                fixed = 10.0 * step + item.batch.value % 2
                yield model, {name: value - value.detach() + fixed for name, value in terms.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Accelerator, "log", lambda self, values, step: logged.append(values))
        train(Noted(), RunOf(str(tmp_path), replace(LOOP, steps=3, accumulate=2, log_every=3)))
    [numbers] = [each for each in logged if "clips/s" in each]
    assert {name: value for name, value in numbers.items() if name.startswith("loss/")} == {
        "loss/maker/size": 10.5,
        "loss/maker/judged": 10.5,
        "loss/judge/real": 10.5,
        "loss/judge/made": 10.5,
    }


@pytest.mark.parametrize(("given", "got"), [(["judge", "maker"], "judge for maker"), (["maker"], "nothing for judge")])
def test_losses_of_models_in_another_order_are_refused(given: list[str], got: str) -> None:
    class Disordered(Rivals):
        def losses(self, step: int, item: Item[Numbers]) -> Iterator[tuple[str, dict[str, Tensor]]]:
            yield from [(name, {}) for name in given]

    task = Disordered()
    with pytest.raises(ValueError, match=f"losses must be of maker, judge, in this order; got {got}"):
        update(task, Accelerator(cpu=True), 0, 1, [Item(task.batches[0], 0)])


def test_a_model_without_losses_in_a_step_stays_as_it_is() -> None:
    class Alone(Rivals):
        def losses(self, step: int, item: Item[Numbers]) -> Iterator[tuple[str, dict[str, Tensor]]]:
            yield next(iter(super().losses(step, item)))
            yield "judge", {}

    task = Alone()
    start = deepcopy({name: trained.network for name, trained in task.trained.items()})
    update(task, Accelerator(cpu=True), 0, 2, [Item(task.batches[1], 0)])
    moved = {
        name: not all(map(torch.equal, trained.network.parameters(), start[name].parameters()))
        for name, trained in task.trained.items()
    }
    assert moved == {"maker": True, "judge": False}


def test_norms_of_gradients_are_told_before_they_are_cut() -> None:
    task, item = Rivals(), Item(Rivals().batches[2], 0)
    judge = deepcopy(task.trained["judge"].network)
    told, _ = update(task, Accelerator(cpu=True), 0, 2, [item])
    (-judge(torch.tensor([[2.0]])).mean()).backward()
    norm = torch.stack([weight.grad.square().sum() for weight in judge.parameters() if weight.grad is not None])
    assert told["gradient/judge"] == pytest.approx(norm.sum().sqrt().item()) and told["gradient/judge"] > 0.1
    assert told["gradient/maker"] > 0


class Remembering(Rivals):
    """Counts the items that it has seen, and notes their steps."""

    def __init__(self, rehearsed: int | None) -> None:
        super().__init__()
        self.rehearsed = rehearsed
        self.count, self.steps = torch.zeros(1, dtype=torch.int64), list[int]()

    def losses(self, step: int, item: Item[Numbers]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        self.steps.append(step)
        self.count += 1
        yield from super().losses(step, item)

    def state_dict(self) -> dict[str, Tensor]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.count = state["count"]


def test_a_rehearsed_step_comes_first_and_leaves_nothing_behind(tmp_path: Path) -> None:
    task, plain = Remembering(5), Remembering(None)
    for each, name in ((task, "rehearsed"), (plain, "plain")):
        train(each, RunOf(str(tmp_path / name), LOOP))
    assert (task.steps, plain.steps) == ([5, *range(6)], [*range(6)])
    assert task.count == plain.count == 6
    for name, trained in task.trained.items():
        others = plain.trained[name].network.parameters()
        assert all(map(torch.equal, trained.network.parameters(), others)), name


def test_a_step_that_never_comes_is_not_rehearsed(tmp_path: Path) -> None:
    task = Remembering(LOOP.steps)
    train(task, RunOf(str(tmp_path), LOOP))
    assert task.steps == [*range(LOOP.steps)]


def test_a_step_reads_from_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task, accelerator = Rivals(), Accelerator(cpu=True)
    reads: list[str] = []

    def counted(name: str, read: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
        def noted(tensor: Tensor) -> Any:
            reads.append(name)
            return read(tensor)

        return noted

    for name in ("item", "tolist", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(Tensor, name, counted(name, getattr(Tensor, name)))
    for step in range(2):
        update(task, accelerator, step, 2, [Item(task.batches[number], 0) for number in (0, 1)])
    assert reads == ["tolist"] * 2


def test_any_process_may_be_told_to_stop() -> None:
    task, accelerator = Rivals(), Accelerator(cpu=True)
    items = [Item(task.batches[0], 0)]
    assert not update(task, accelerator, 0, 2, items)[1]
    assert update(task, accelerator, 1, 2, items, stop=True)[1]
