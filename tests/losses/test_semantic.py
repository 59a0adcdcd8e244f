"""The discriminator on a frozen network: what it trains, what it says, what it is saved as."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from evatok.losses.semantic import SemanticDiscriminator, SemanticDiscriminatorConfig
from evatok.pretrained.encoders import EncoderConfig
from evatok.training.optimizers import OptimizerConfig, build_optimizers
from evatok.training.sharding import kept_weights
from evatok.training.task import Trained

CONFIG = SemanticDiscriminatorConfig(EncoderConfig(side=32), layers=(3, 5), hidden=8)


def discriminator(config: SemanticDiscriminatorConfig = CONFIG) -> SemanticDiscriminator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SemanticDiscriminator(config)


def clips(count: int = 2, frames: int = 4, seed: int = 0) -> Tensor:
    return torch.rand(count, frames, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_logit_for_each_position_of_each_layer() -> None:
    logits = discriminator()(clips())
    assert logits.shape == (2, 4 * (4 * 4 + 2 * 2))
    assert logits.dtype == torch.float32
    assert logits.std() > 0
    default = SemanticDiscriminator(SemanticDiscriminatorConfig(EncoderConfig(side=32, every=2)))
    assert default(clips()).shape == (2, 2 * (8 * 8 + 4 * 4 + 2 * 2 + 1))


def test_clips_do_not_see_each_other() -> None:
    network, video = discriminator(), clips(3)
    torch.testing.assert_close(network(video)[1:2], network(video[1:2]), rtol=1e-4, atol=1e-5)


def test_only_the_heads_are_trained_averaged_and_saved() -> None:
    network = discriminator()
    weights = kept_weights(network)
    assert set(network.state_dict()) == set(weights)
    assert all(name.startswith("heads.") for name in weights)
    for kind in ("adamw", "muon"):
        config: Any = OptimizerConfig(kind=kind)
        updated = [w for o in build_optimizers(network, config) for group in o.param_groups for w in group["params"]]
        assert {id(weight) for weight in updated} == {id(weight) for weight in weights.values()}
    assert Trained(network, OptimizerConfig(), None).averaged().encoder is network.encoder


def test_the_clip_has_a_gradient_and_the_frozen_network_none() -> None:
    network, video = discriminator(), clips().requires_grad_()
    network(video).mean().backward()
    assert video.grad is not None
    assert video.grad.abs().amax((2, 3, 4)).min() > 0
    assert all(weight.grad is not None for weight in network.parameters())
    assert not any(weight.requires_grad or weight.grad is not None for weight in network.encoder.parameters())


def test_the_frozen_network_moves_along_and_keeps_its_precision() -> None:
    network = copy.deepcopy(discriminator()).double().train()
    assert {weight.dtype for weight in network.parameters()} == {torch.float64}
    assert {weight.dtype for weight in network.encoder.parameters()} == {torch.float32}
    assert not network.encoder.training


def test_weights_come_back() -> None:
    network, other = discriminator(), SemanticDiscriminator(CONFIG)
    assert not torch.equal(other(clips()), network(clips()))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(clips()), network(clips()))


def test_it_learns_to_tell_blurred_clips() -> None:
    network = discriminator()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)

    def pair(seed: int) -> tuple[Tensor, Tensor]:
        real = clips(4, 2, seed)
        return real, F.avg_pool3d(real, (1, 3, 3), 1, (0, 1, 1))

    for step in range(30):
        real, fake = map(network, pair(step))
        optimizer.zero_grad()
        (F.relu(1 - real).mean() + F.relu(1 + fake).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        real, fake = (network(video).mean(1) for video in pair(99))
    assert real.min() > fake.max()


def test_half_precision_gives_float32_logits() -> None:
    network = discriminator()
    with torch.autocast("cpu", torch.bfloat16):
        found = network(clips())
    assert found.dtype == torch.float32
    assert (found - network(clips())).abs().max() < 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"kernel": 4}, "kernel must be odd, got 4"),
        ({"layers": (2, 2)}, r"layers must be different ones, got \(2, 2\)"),
    ],
)
def test_configs_that_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SemanticDiscriminatorConfig(**wrong)


def test_layers_that_the_network_does_not_have() -> None:
    with pytest.raises(ValueError, match="layer must be among the encoder's 1 to 7, got 8"):
        SemanticDiscriminator(SemanticDiscriminatorConfig(layers=(3, 8)))
