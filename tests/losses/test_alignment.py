"""Alignment: the grid that the head makes, what the loss says, and what it trains."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from evatok.losses.alignment import AlignmentConfig, AlignmentHead
from evatok.nn.packed import Layout
from evatok.nn.transformer import TransformerConfig
from evatok.pretrained.efficientnet import EfficientNetLite
from evatok.pretrained.encoders import EncoderConfig, load_encoder
from evatok.pretrained.video_encoder import IMAGENET, VideoEncoder
from evatok.tokenizer.model import VideoTokenizer
from tests.conftest import MINI

# Patches of MINI: 4 blocks of 4 x 4.
GRID = (4, 4, 4)


class Teacher(VideoEncoder):
    """Has a grid, and noise on it."""

    def __init__(self, grid: tuple[int, int, int], width: int = 6) -> None:
        super().__init__([1, width], (1,), 32, IMAGENET)
        self.size = grid

    def grid(self, layer: int, frames: int) -> tuple[int, int, int]:
        return self.size

    def _chosen(self, frames: int) -> list[int]:
        return list(range(frames))

    def _features(self, pictures: Tensor, layers: Sequence[int]) -> list[Tensor]:
        return [noise(len(pictures), *self.size, self.widths[layer - 1]) for layer in layers]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def head_for(grid: tuple[int, int, int], **options: Any) -> AlignmentHead:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AlignmentHead(AlignmentConfig(hidden=16, **options), MINI, Teacher(grid))


@pytest.mark.parametrize(
    ("grid", "split"),
    [((4, 4, 4), (1, 1, 1)), ((8, 4, 8), (2, 1, 2)), ((16, 8, 12), (4, 2, 3)), ((4, 2, 2), (1, 1, 1))],
)
def test_a_patch_becomes_the_teacher_s_patches_in_its_place(
    grid: tuple[int, int, int], split: tuple[int, int, int]
) -> None:
    head, features = head_for(grid), noise(1, *GRID, MINI.decoder.width).requires_grad_()
    assert head.split == split
    for place in ((0, 0, 0), (1, 1, 0), tuple(cells - 1 for cells in grid)):
        # Only there the teacher says something, so only what stands for that place has a gradient.
        said = torch.zeros(1, *grid, 6)
        said[(0, *place)] = noise(6)
        (slope,) = torch.autograd.grad(head(features, said), features)
        touched = slope[0].abs().sum(-1).nonzero()
        own = [(at * mine) // theirs for at, mine, theirs in zip(place, GRID, grid, strict=True)]
        area = [max(mine // theirs, 1) for mine, theirs in zip(GRID, grid, strict=True)]
        assert touched.amin(0).tolist() == own
        assert touched.amax(0).tolist() == [first + size - 1 for first, size in zip(own, area, strict=True)]


def test_the_loss_is_minus_the_mean_cosine() -> None:
    head, features = head_for((8, 8, 8), weight=0.5), noise(3, *GRID, MINI.decoder.width)
    other = noise(3, 8, 8, 8, 6, seed=1)
    torch.testing.assert_close(head(features, 7 * other), head(features, other))
    torch.testing.assert_close(head(features, -other), -head(features, other))
    clips = [head(features[clip : clip + 1], other[clip : clip + 1]) for clip in range(3)]
    torch.testing.assert_close(head(features, other), torch.stack(clips).mean())


def test_the_cosine_of_a_head_that_always_says_the_same() -> None:
    head, other = head_for((8, 8, 8)), noise(2, 8, 8, 8, 6, seed=1)
    torch.nn.init.zeros_(head.depatchify.weight)
    with torch.no_grad():
        head.depatchify.bias.copy_(torch.tensor([3.0, 0, 4, 0, 0, 0]).repeat(8))
    cosine = (0.6 * other[..., 0] + 0.8 * other[..., 2]) / other.square().sum(-1).sqrt()
    torch.testing.assert_close(head(noise(2, *GRID, MINI.decoder.width), other), -0.7 * cosine.mean())


@pytest.mark.parametrize("grid", [(8, 8, 8), (4, 2, 2), (3, 5, 7)])
def test_the_head_learns_what_the_teacher_says(grid: tuple[int, int, int]) -> None:
    head = head_for(grid)
    features, said = noise(1, *GRID, MINI.decoder.width), noise(1, 1, 1, 1, 6, seed=1).expand(1, *grid, 6)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        loss = head(features, said)
        loss.backward()
        optimizer.step()
    assert loss < -0.95 * 0.7


@pytest.mark.parametrize(("blocks", "grid"), [(1, (2, 8, 8)), (1, (8, 8, 8)), (3, (6, 8, 8)), (4, (8, 8, 16))])
def test_clips_of_other_lengths_and_shapes(blocks: int, grid: tuple[int, int, int]) -> None:
    head, features = head_for((8, 8, 8)), noise(2, blocks, 4, 6, MINI.decoder.width).requires_grad_()
    loss = head(features, noise(2, *grid, 6))
    loss.backward()
    assert loss.isfinite()
    assert features.grad is not None
    assert features.grad.abs().sum(-1).min() > 0


def test_silence_is_no_nan() -> None:
    head, features = head_for((8, 8, 8)), torch.zeros(1, *GRID, MINI.decoder.width, requires_grad=True)
    loss = head(features, torch.zeros(1, 8, 8, 8, 6))
    loss.backward()
    assert loss == 0
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_it_trains_the_tokenizer_up_to_the_layer_that_is_looked_at(mini: VideoTokenizer) -> None:
    teacher = load_encoder(EncoderConfig(side=64))
    head = AlignmentHead(AlignmentConfig(teacher_layer=5, layer=1, hidden=16), mini.config, teacher)
    assert head.split == (4, 1, 1)
    video = noise(2, 16, 3, 32, 32).clamp(-1, 1)
    [said] = teacher.features(video, [head.teacher_layer])
    with torch.autocast("cpu", torch.bfloat16):
        output = mini(video, Layout.of([[4, 8, 4, 8]] * 2), layer=head.layer)
        loss = head(output.features, said)
    assert loss.dtype == torch.float32
    names = ["encoder.patches.linear", "decoder.transformer.layers.0.up", "decoder.transformer.layers.1.up"]
    weights = [*(mini.get_parameter(f"{name}.weight") for name in names), *head.parameters()]
    found = [slope is not None for slope in torch.autograd.grad(loss, weights, allow_unused=True)]
    assert found == [True, True, False] + [True] * len(list(head.parameters()))


@pytest.mark.parametrize(("depth", "layer"), [(1, 1), (2, 1), (5, 2), (12, 6)])
def test_the_middle_layer_is_looked_at(depth: int, layer: int) -> None:
    model = replace(MINI, decoder=TransformerConfig(32, depth, 2))
    head = AlignmentHead(AlignmentConfig(hidden=16), model, Teacher(GRID))
    assert (head.layer, head.teacher_layer) == (layer, 2)


@pytest.mark.parametrize(("side", "layer"), [(256, 7), (128, 7), (96, 5), (64, 5), (32, 3), (20, 2), (4, 7)])
def test_the_teacher_s_last_layer_that_is_as_fine_as_the_decoder(side: int, layer: int) -> None:
    # MINI's decoder has 4 x 4 patches; the network's strides are 2, 4, 8, 16, 16, 32 and 32.
    assert AlignmentHead(AlignmentConfig(hidden=16), MINI, EfficientNetLite(side)).teacher_layer == layer


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layer": 3}, "layer must be among the decoder's 1 to 2, got 3"),
        ({"layer": 0}, "layer must be at least 1, got 0"),
        ({"teacher_layer": 3}, "layer must be among the encoder's 1 to 2, got 3"),
        ({"weight": -1}, "weight must be at least 0, got -1"),
    ],
)
def test_what_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        head_for(GRID, **wrong)
