"""The walk over prefixes against one assignment after another."""

import pytest
import torch
from torch import Tensor

from evatok.assignment import AssignmentSpace
from evatok.evaluation.metrics import clip_psnr
from evatok.evaluation.reconstruction import reconstruct
from evatok.nn.packed import Layout
from evatok.nn.transformer import TransformerConfig
from evatok.pretrained.lpips import LPIPS
from evatok.search.walk import search_clips
from evatok.tokenizer.config import QuantizerConfig, TokenizerConfig
from evatok.tokenizer.model import VideoTokenizer
from evatok.video.fit import to_signed

# The paper's space, at tiny width and 32 pixels a side.
PAPER = TokenizerConfig(
    levels=(32, 64, 128, 256, 512),
    side=32,
    encoder=TransformerConfig(32, 1, 2),
    decoder=TransformerConfig(32, 1, 2),
    quantizer=QuantizerConfig(codebook_size=64),
    default_assignment=(64, 32, 32, 32),
)


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    """AlexNet's architecture with random weights: what is compared here does not depend on them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LPIPS("alex")


def clips(count: int, side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    picture = torch.nn.functional.interpolate(coarse, (2 * side, 2 * side), mode="bilinear")
    return torch.stack([(picture[..., t : t + side, t : t + side] * 255).to(torch.uint8) for t in range(16)], 1)


def one_by_one(model: VideoTokenizer, video: Tensor, space: AssignmentSpace, lpips: LPIPS) -> tuple[Tensor, Tensor]:
    """Mean squared error and LPIPS `(clips, assignments)` of whole reconstructions."""
    features = lpips.features(to_signed(video).flatten(0, 1))
    errors, distances = [], []
    for index in range(len(space)):
        after = reconstruct(model, video, Layout.of([space.assignment(index)] * len(video))).video
        errors.append((after.float() - video.float()).square().flatten(1).mean(1))
        seen = lpips.features(to_signed(after).flatten(0, 1))
        distances.append(lpips.distance(features, seen).view(len(video), -1).mean(1))
    return torch.stack(errors, 1), torch.stack(distances, 1)


def test_search_equals_exhaustive_search_in_a_small_space(mini: VideoTokenizer, lpips: LPIPS) -> None:
    video = clips(3)
    space = mini.config.space
    values = search_clips(mini, video, lpips)
    assert values.mse.shape == values.lpips.shape == (3, 2 + 4 + 8 + 16)
    mse, distance = one_by_one(mini, video, space, lpips)
    torch.testing.assert_close(values.mse[:, space.prefixes].mean(2), mse, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(values.lpips[:, space.prefixes].mean(2), distance, rtol=0, atol=1e-4)
    assert torch.equal(values.lpips[:, space.prefixes].mean(2).argmin(1), distance.argmin(1))


def test_search_equals_exhaustive_search_in_the_papers_space(lpips: LPIPS) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VideoTokenizer(PAPER).eval()
    video = clips(1)
    values = search_clips(model, video, lpips)
    assert values.lpips.shape == (1, 780)
    _, distance = one_by_one(model, video, PAPER.space, lpips)
    found = values.lpips[:, PAPER.space.prefixes].mean(2)
    torch.testing.assert_close(found, distance, rtol=0, atol=1e-4)
    assert found.argmin() == distance.argmin()


def test_a_clips_values_do_not_depend_on_its_neighbours(mini: VideoTokenizer, lpips: LPIPS) -> None:
    video = clips(4)
    together = search_clips(mini, video, lpips)
    alone = search_clips(mini, video[2:3], lpips)
    torch.testing.assert_close(together.lpips[2:3], alone.lpips, rtol=0, atol=1e-5)


def test_psnr_follows_from_the_mean_of_the_blocks(mini: VideoTokenizer, lpips: LPIPS) -> None:
    video, space = clips(2), mini.config.space
    mse = search_clips(mini, video, lpips).mse[:, space.prefixes].mean(2)
    for index in (0, 7, 15):
        after = reconstruct(mini, video, Layout.of([space.assignment(index)] * len(video))).video
        expected = clip_psnr(video, after)
        torch.testing.assert_close(20 * torch.log10(torch.tensor(255.0)) - 10 * mse[:, index].log10(), expected)
