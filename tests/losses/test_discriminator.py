"""The patch discriminator: its shape, what it sees, and that it learns."""

import pytest
import torch

from evatok.losses.adversarial import AdversarialConfig, AdversarialLoss
from evatok.losses.discriminator import PatchDiscriminator, PatchDiscriminatorConfig
from evatok.nn.transformer import TransformerConfig

MINI = PatchDiscriminatorConfig(side=16, transformer=TransformerConfig(32, 1, 2))


def made() -> PatchDiscriminator:
    torch.manual_seed(0)
    model = PatchDiscriminator(MINI)
    torch.nn.init.normal_(model.head.weight, std=0.1)
    return model


@pytest.mark.parametrize(("frames", "size"), [(16, (16, 16)), (4, (8, 8)), (8, (40, 24))])
def test_each_patch_of_a_clip_of_any_size_has_a_logit(frames: int, size: tuple[int, int]) -> None:
    video = torch.rand(2, frames, 3, *size) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        logits = made()(video)
    assert logits.shape == (2, frames // 4, size[0] // 8, size[1] // 8) and logits.dtype == torch.float32
    assert logits.flatten().unique().numel() > 1


def test_a_patch_is_judged_by_all_of_its_clip_and_by_no_other() -> None:
    model, video = made(), torch.rand(2, 8, 3, 16, 16)
    changed = video.clone()
    changed[1, 7, :, 15, 15] += 1
    moved = (model(video) - model(changed)).abs()
    assert (moved[1] > 0).all() and moved[0].max() < 1e-5


def test_the_gradient_reaches_every_pixel_and_an_untrained_one_has_none() -> None:
    video = torch.rand(1, 4, 3, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(made()(video).sum(), video)
    assert (gradient != 0).float().mean() > 0.99
    new = PatchDiscriminator(MINI)(video)
    assert not new.any() and not torch.autograd.grad(new.sum(), video)[0].any()


def test_it_learns_to_tell_two_kinds_of_clips_apart() -> None:
    torch.manual_seed(0)
    model, loss = PatchDiscriminator(MINI), AdversarialLoss(AdversarialConfig())
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def kinds() -> tuple[torch.Tensor, torch.Tensor]:
        """Stripes across and stripes down, both in noise."""
        stripes = torch.tensor([0.5, -0.5]).repeat(8)
        noise = 0.3 * torch.randn(2, 4, 4, 3, 16, 16)
        return noise[0] + stripes, noise[1] + stripes[:, None]

    for _ in range(40):
        real, fake = kinds()
        optimizer.zero_grad()
        torch.stack(list(loss.discriminator(model(real), model(fake)).values())).sum().backward()
        optimizer.step()
    with torch.no_grad():
        real, fake = map(model, kinds())
    assert (real > 0).float().mean() > 0.95 and (fake < 0).float().mean() > 0.95


@pytest.mark.parametrize("shape", [(1, 6, 3, 16, 16), (1, 4, 3, 12, 16), (1, 4, 1, 16, 16), (4, 3, 16, 16)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"multiples of 4, 8 and 8, got \("):
        made()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"patch": (4, 8)}, "patch must be three positive integers"),
        ({"side": 4}, "side must be at least that of a patch, 8, got 4"),
        ({"side": 5000}, "side must be at most 4096, got 5000"),
    ],
)
def test_wrong_configs_are_refused(wrong: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PatchDiscriminatorConfig(**wrong)
