"""Losses of routers, against rewards worked out by hand and by what minimises them."""

from dataclasses import replace

import pytest
import torch

from evatok.allocation.reward import ProxyReward
from evatok.losses.routing import RoutingLoss, RoutingLossConfig
from evatok.nn.transformer import TransformerConfig
from evatok.router.config import Head, RouterConfig

ROUTER = RouterConfig(levels=(1, 2), blocks=2, transformer=TransformerConfig(32, 1, 2), head="prefix_regression")
VALUES = torch.tensor([[0.4, 0.2, 0.6, 0.5, 0.4, 0.2], [0.3, 0.3, 0.3, 0.3, 0.3, 0.3], [0.5, 0.1, 0.4, 0.2, 0.3, 0.1]])
TABLE = torch.tensor([[0.5, 0.45, 0.3, 0.2], [0.3, 0.3, 0.3, 0.3], [0.45, 0.35, 0.2, 0.1]])
REWARD = ProxyReward.fit(TABLE, ROUTER.space.costs)
ALL = RoutingLossConfig(error=1, shape=1, hard=1, soft=1, regret=1, temperature=0.05, w_q=(1.2, 1.2))


def terms(config: RoutingLossConfig, router: RouterConfig, output: torch.Tensor) -> dict[str, float]:
    loss = RoutingLoss(config, router, REWARD, VALUES)
    found = loss(output, VALUES, torch.Generator().manual_seed(0))
    return {name: value.item() for name, value in found.items()}


@pytest.mark.parametrize("head", ["regression", "prefix_regression"])
def test_a_perfect_prediction_has_no_error_and_little_regret(head: Head) -> None:
    router = replace(ROUTER, head=head)
    perfect = VALUES if head == "prefix_regression" else TABLE
    found = terms(ALL, router, perfect)
    assert found["error"] == found["shape"] == pytest.approx(0, abs=1e-9)
    rewards = REWARD(TABLE, ROUTER.space.costs, 1.2)
    drawn = (rewards / 0.05).softmax(1)
    assert found["regret"] == pytest.approx(
        (drawn * (rewards.amax(1, keepdim=True) - rewards)).sum(1).mean().item(), rel=1e-4
    )
    assert found["soft"] == pytest.approx(-(drawn * drawn.clamp(min=1e-300).log()).sum(1).mean().item(), rel=1e-4)
    worse = terms(ALL, router, perfect.flip(1))
    assert all(worse[name] > found[name] for name in found)


def test_an_offset_of_a_clip_is_an_error_and_no_error_of_shape() -> None:
    found = terms(ALL, ROUTER, VALUES + torch.tensor([[0.1], [0.0], [-0.2]]))
    perfect = terms(ALL, ROUTER, VALUES)
    assert found["error"] > 0.1 and found["shape"] == pytest.approx(0, abs=1e-9)
    assert found["regret"] == pytest.approx(perfect["regret"], rel=1e-3)


def test_what_was_not_measured_is_left_out_and_gets_no_gradient() -> None:
    config = RoutingLossConfig(error=1, shape=1)
    loss = RoutingLoss(config, ROUTER, REWARD, VALUES)
    values = VALUES.clone()
    values[0, 2:4] = torch.nan  # both lengths of a block
    values[1, 5] = torch.nan  # one of two: what is left has no sibling
    output = (VALUES + 0.1 * torch.rand(3, 6, generator=torch.Generator().manual_seed(0))).requires_grad_()
    found = loss(output, values, torch.Generator())
    known = ~values.isnan()
    spread = VALUES.std(0, correction=0)
    errors = (output - VALUES).detach()
    assert found["error"].item() == pytest.approx((errors / spread)[known].square().mean().item(), rel=1e-5)
    pairs = errors.view(3, 3, 2)[torch.tensor([[1, 0, 1], [1, 1, 0], [1, 1, 1]]).bool()]
    unit = (VALUES.view(3, 3, 2) - VALUES.view(3, 3, 2).mean(2, keepdim=True)).std(0, correction=0).mean()
    wanted = ((pairs - pairs.mean(1, keepdim=True)) / unit).square().mean().item()
    assert found["shape"].item() == pytest.approx(wanted, rel=1e-5)
    torch.stack(list(found.values())).sum().backward()
    assert output.grad is not None and output.grad.isfinite().all()
    assert (output.grad[~known] == 0).all() and (output.grad[known] != 0).all()


def test_the_papers_classification() -> None:
    router = replace(ROUTER, head="classification")
    config = RoutingLossConfig(error=0, shape=0, hard=1, w_q=(1.2, 1.2))
    best = REWARD(TABLE, ROUTER.space.costs, 1.2).argmax(1)
    # The last token brings 0.1, of a deviation of 0.110, at 1.2; it costs 1 of 0.707 at 0.8.
    assert best.tolist() == [2, 0, 2]
    right = terms(config, router, 20 * torch.nn.functional.one_hot(best, 4).float())
    assert right.keys() == {"hard"} and right["hard"] < 1e-6
    assert terms(config, router, torch.zeros(3, 4))["hard"] == pytest.approx(torch.tensor(4.0).log().item())


def test_preferences_are_drawn_and_gradients_reach_the_output() -> None:
    loss = RoutingLoss(replace(ALL, w_q=(0.4, 2.0)), ROUTER, REWARD, VALUES)
    output = VALUES.clone().requires_grad_()
    draws = [loss(output, VALUES, torch.Generator().manual_seed(seed))["regret"] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    torch.stack(list(loss(output + 0.01 * torch.rand(3, 6), VALUES, torch.Generator()).values())).sum().backward()
    assert output.grad is not None and output.grad.isfinite().all() and output.grad.any()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"error": -1}, "error must be at least 0, got -1"),
        ({"error": 0, "shape": 0}, "must have a weight"),
        ({"temperature": 0}, "temperature must be positive"),
        ({"w_q": (0.0, 1.0)}, "w_q must be two preferences"),
    ],
)
def test_wrong_configs_are_refused(wrong: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        RoutingLossConfig(**wrong)


def test_terms_that_a_classification_lacks_are_refused() -> None:
    router = replace(ROUTER, head="classification")
    with pytest.raises(ValueError, match="predicts no LPIPS"):
        RoutingLossConfig(hard=1, w_q=(1.2, 1.2)).check(router)
    with pytest.raises(ValueError, match=r"one preference: w_q must be one twice, got \(0.4, 2.0\)"):
        RoutingLossConfig(error=0, shape=0, hard=1).check(router)
