"""EfficientNet-Lite0: logits of another implementation, photographs' classes, features on their grids."""

import copy
import math

import pytest
import torch
from torch import Tensor

from evatok.pretrained.efficientnet import EfficientNetLite
from evatok.video.fit import to_signed

# Logits of classes 0 to 3, from the package efficientnet-lite-pytorch 0.1.0, of the images of `waves`.
REFERENCE = [[-0.1048, 0.7757, 2.4447, -0.2774], [-0.0894, 1.0371, 2.4974, -0.4186]]
CATS = {281, 282, 283, 284, 285}
ESPRESSO = {967}


@pytest.fixture(scope="module")
def network() -> EfficientNetLite:
    return EfficientNetLite.from_pretrained()


def seeing(network: EfficientNetLite, side: int, every: int = 1) -> EfficientNetLite:
    """The same weights, which see other sizes and frames."""
    other = EfficientNetLite(side, every)
    other.load_state_dict(network.state_dict())
    return other


def waves() -> Tensor:
    """Two frames that are formulas, `(1, 2, 3, 224, 224)`."""
    y, x = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    phases = [(c, phase) for phase in (0, 1) for c in range(3)]
    channels = [torch.sin(2 * math.pi * ((c + 1) * x + (2 * c + 1) * y) / 64 + phase) for c, phase in phases]
    return torch.stack(channels).unflatten(0, (1, 2, 3))


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_logits_of_another_implementation(network: EfficientNetLite) -> None:
    found = network.classify(waves())
    assert found.shape == (1, 2, 1000)
    torch.testing.assert_close(found[0, :, :4], torch.tensor(REFERENCE), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("name", "classes"), [("chelsea", CATS), ("coffee", ESPRESSO)])
def test_photographs_are_of_their_classes(network: EfficientNetLite, name: str, classes: set[int]) -> None:
    photograph = torch.from_numpy(getattr(pytest.importorskip("skimage.data"), name)())
    side = min(photograph.shape[:2])
    top, left = ((length - side) // 2 for length in photograph.shape[:2])
    square = photograph[top : top + side, left : left + side].permute(2, 0, 1)
    likely = network.classify(to_signed(square[None, None]))[0, 0].softmax(0)
    assert likely[list(classes)].sum() > 0.85


@pytest.mark.parametrize(("side", "every", "frames"), [(64, 1, 3), (72, 2, 5), (33, 4, 4), (50, 16, 1)])
def test_features_lie_on_the_grid(network: EfficientNetLite, side: int, every: int, frames: int) -> None:
    other, video = seeing(network, side, every), noise(2, frames, 3, 40, 56)
    layers = [7, 1, 2, 3, 4, 5, 6]
    found = other.features(video, layers)
    for layer, features in zip(layers, found, strict=True):
        assert features.shape == (2, *other.grid(layer, frames), other.widths[layer - 1])
    assert other.grid(5, frames) == (-(-frames // every), -(-side // 16), -(-side // 16))
    [looked_at] = seeing(network, side).features(video[:, ::every], [3])
    torch.testing.assert_close(found[3], looked_at, rtol=1e-4, atol=1e-4)


def test_frames_do_not_see_each_other(network: EfficientNetLite) -> None:
    other, video = seeing(network, 64), noise(2, 3, 3, 64, 64)
    [together], [alone] = other.features(video, [5]), other.features(video[1:, 2:], [5])
    torch.testing.assert_close(together[1:, 2:], alone, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_the_slope(network: EfficientNetLite) -> None:
    other, video = seeing(network, 64), waves()[..., 64:96, 64:96].contiguous()

    def total(x: Tensor) -> Tensor:
        return torch.stack([features.square().mean() for features in other.features(x, [2, 5])]).sum()

    x = video.clone().requires_grad_()
    (slope,) = torch.autograd.grad(total(x), x)
    step = 1e-2 * slope / slope.norm()
    with torch.no_grad():
        change = total(video + step) - total(video - step)
    assert change.item() == pytest.approx(2 * (step * slope).sum().item(), rel=0.02)


def test_it_is_frozen_and_copies_are_itself(network: EfficientNetLite) -> None:
    assert not any(weight.requires_grad for weight in network.parameters())
    assert not network.train().training
    assert copy.deepcopy([network])[0] is network


def test_features_are_float32_under_autocast(network: EfficientNetLite) -> None:
    other, video = seeing(network, 64), waves()
    [exact] = other.features(video, [5])
    with torch.autocast("cpu", torch.bfloat16):
        [found] = other.features(video, [5])
    assert found.dtype == torch.float32
    assert (found - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize(
    "video",
    [
        torch.zeros(2, 3, 8, 8),
        torch.zeros(1, 2, 1, 8, 8),
        torch.zeros(1, 0, 3, 8, 8),
        torch.zeros(1, 2, 3, 8, 8).byte(),
    ],
)
def test_only_float_clips(network: EfficientNetLite, video: Tensor) -> None:
    with pytest.raises(ValueError, match="video must be float"):
        network.features(video, [1])


@pytest.mark.parametrize("layer", [0, 8, -1])
def test_only_layers_that_there_are(network: EfficientNetLite, layer: int) -> None:
    with pytest.raises(ValueError, match=f"layer must be among the encoder's 1 to 7, got {layer}"):
        network.features(noise(1, 1, 3, 64, 64), [5, layer])
