"""Adversarial losses against values worked out by hand."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from evatok.losses.adversarial import AdversarialConfig, AdversarialLoss

REAL, FAKE = torch.tensor([[2.0, 0.5], [-1.0, 0.0]]), torch.tensor([[-3.0, -0.5], [0.5, 1.0]])


def test_hinge_losses() -> None:
    loss = AdversarialLoss(AdversarialConfig(lecam=0))
    found = loss.discriminator(REAL, FAKE)
    assert found.keys() == {"hinge"}
    # Real: 0, 0.5, 2, 1; fake: 0, 0.5, 1.5, 2.
    assert found["hinge"].item() == pytest.approx(3.5 / 4 + 4 / 4)
    assert loss.tokenizer(FAKE).item() == pytest.approx(2 / 4)
    assert not loss.averages.any()


def test_each_clip_weighs_alike_and_all_is_float32() -> None:
    logits = torch.zeros(2, 3, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    loss = AdversarialLoss(AdversarialConfig())
    with torch.autocast("cpu", torch.bfloat16):
        found = [loss.tokenizer(logits), *loss.discriminator(logits, logits[:1]).values()]
    assert {each.dtype for each in found} == {torch.float32}
    # Two real clips and one fake: each kind weighs 1.
    (gradient,) = torch.autograd.grad(found[1], logits)
    assert gradient.float().sum((1, 2, 3)).tolist() == pytest.approx([0.5, -0.5], abs=1e-2)


def test_lecam_by_hand() -> None:
    loss = AdversarialLoss(AdversarialConfig(lecam=0.1, lecam_decay=0.75))
    # The averages of a first call are its own means, 0.375 and -0.5. Squares of what real ones are above the fake
    # mean: 2.5, 1, 0, 0.5; of what fake ones are below the real mean: 3.375, 0.875, 0, 0.
    first = (6.25 + 1 + 0.25) / 4 + (3.375**2 + 0.875**2) / 4
    assert loss.discriminator(REAL, FAKE)["lecam"].item() == pytest.approx(0.1 * first)
    # Then, with weights 0.75 and 1 of a decayed and a new mean.
    loss.discriminator(REAL + 1, FAKE - 2)
    real, fake = (0.75 * 0.375 + 1.375) / 1.75, (0.75 * -0.5 - 2.5) / 1.75
    found = loss.eval().discriminator(torch.tensor([[1.0]]), torch.tensor([[0.25]]))["lecam"].item()
    assert found == pytest.approx(0.1 * ((1 - fake) ** 2 + (real - 0.25) ** 2))


def test_averages_are_resumed_and_move_in_training_alone() -> None:
    loss, resumed = (AdversarialLoss(AdversarialConfig()) for _ in range(2))
    loss.discriminator(REAL, FAKE)
    resumed.load_state_dict({name: value.clone() for name, value in loss.state_dict().items()})
    both = [each.discriminator(REAL * 2, FAKE)["lecam"] for each in (loss, resumed)]
    assert both[0] == both[1] and torch.equal(loss.averages, resumed.averages) and loss.averages.any()
    before = loss.averages.clone()
    loss.eval().discriminator(REAL * 5, FAKE)
    assert torch.equal(loss.averages, before)


def test_averages_outlast_a_step_that_is_left_out() -> None:
    loss = AdversarialLoss(AdversarialConfig())
    loss.discriminator(REAL, FAKE)
    before = loss.averages.clone()
    loss.discriminator(REAL * torch.nan, FAKE)
    assert torch.equal(loss.averages, before)


def test_the_weight_rises_after_the_start() -> None:
    loss = AdversarialLoss(AdversarialConfig(weight=0.4, start=10, ramp=4))
    assert [loss.weight_at(step) for step in (0, 9, 10, 11, 14, 99)] == pytest.approx([0, 0, 0, 0.1, 0.4, 0.4])
    at_once = AdversarialLoss(AdversarialConfig(weight=0.4, start=10, ramp=0))
    assert [at_once.weight_at(step) for step in (9, 10)] == [0, 0.4]


def test_the_adaptive_factor_is_the_ratio_of_gradients() -> None:
    loss = AdversarialLoss(AdversarialConfig(adaptive=True, adaptive_most=20))
    video = torch.rand(2, 4, 3, 8, 8, requires_grad=True)
    shown = video * 2
    adversarial = -shown.mean()
    factor = loss.adaptive_factor((6 * shown).mean(), adversarial, shown)
    assert factor.item() == pytest.approx(6) and not factor.requires_grad
    assert loss.adaptive_factor((50 * shown).mean(), adversarial, shown) == 20
    assert loss.adaptive_factor(shown.mean(), 0 * adversarial, shown) == 20
    (factor * adversarial).backward()  # the graph is still there
    assert video.grad is not None and video.grad.sum().item() == pytest.approx(-12, rel=1e-4)


def half_of_clips(rank: int, folder: Path) -> None:
    """Writes the averages after a process's half of the clips, and the adaptive factor."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(averages_and_factor(slice(rank, rank + 1)), folder / f"{rank}.pt")
    dist.destroy_process_group()


def averages_and_factor(clips: slice) -> tuple[torch.Tensor, torch.Tensor]:
    loss = AdversarialLoss(AdversarialConfig(adaptive_most=100))
    loss.discriminator(REAL[clips], FAKE[clips])
    video, scale = torch.ones(2, 1, 3, 8, 8)[clips].requires_grad_(), torch.tensor([2.0, 9.0])[clips]
    factor = loss.adaptive_factor((video.flatten(1).mean(1) * scale).mean(), video.mean(), video)
    return loss.averages, factor


def test_processes_have_the_averages_and_the_factor_of_all_clips(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(half_of_clips, (tmp_path,), nprocs=2)
    averages, factor = averages_and_factor(slice(2))
    assert factor.item() == pytest.approx((85 / 2) ** 0.5)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found[0], averages)
        torch.testing.assert_close(found[1], factor)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"weight": -1}, "weight must be at least 0, got -1"),
        ({"ramp": -1}, "ramp must be at least 0, got -1"),
        ({"lecam_decay": 1.5}, "lecam_decay must be at most 1, got 1.5"),
        ({"lecam_decay": 1}, "lecam_decay must be below 1, or averages never change, got 1"),
        ({"adaptive_most": 0}, "adaptive_most must be positive, got 0"),
    ],
)
def test_wrong_configs_are_refused(wrong: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        AdversarialConfig(**wrong)
