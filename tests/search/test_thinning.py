"""Thinned searches: which prefixes are followed, and how what was left out is completed."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from evatok.assignment import AssignmentSpace
from evatok.pretrained.lpips import LPIPS
from evatok.search.thinning import FactorModel, draw_prefixes
from evatok.search.walk import search_clips
from evatok.tokenizer.model import VideoTokenizer

PAPER = AssignmentSpace((32, 64, 128, 256, 512), 4)


def test_so_many_prefixes_of_each_length_are_followed() -> None:
    drawn = draw_prefixes(PAPER, 10, torch.Generator().manual_seed(0))
    by_length = [[prefix for prefix in drawn if len(prefix) == length] for length in (1, 2, 3)]
    assert [len(prefixes) for prefixes in by_length] == [5, 10, 10] and len(drawn) == 25
    for shorter, longer in pairwise(by_length):
        assert {prefix[:-1] for prefix in longer} <= set(shorter)
    assert {(32,), (32, 32), (32, 32, 32)} <= drawn
    assert drawn == draw_prefixes(PAPER, 10, torch.Generator().manual_seed(0))
    assert drawn != draw_prefixes(PAPER, 10, torch.Generator().manual_seed(1))


def test_every_prefix_is_followed_some_time() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = set().union(*(draw_prefixes(PAPER, 10, generator) for _ in range(150)))
    assert len(seen) == 5 + 25 + 125


def test_what_is_measured_is_what_the_whole_search_measures(mini: VideoTokenizer) -> None:
    video, lpips = torch.randint(0, 256, (2, 16, 3, 32, 32), dtype=torch.uint8), LPIPS.from_pretrained("alex")
    followed = draw_prefixes(mini.config.space, 2, torch.Generator().manual_seed(0))
    whole = search_clips(mini, video, lpips)
    thinned = search_clips(mini, video, lpips, followed=followed)
    known = ~thinned.lpips.isnan()
    assert known.sum(1).tolist() == [2 + 4 + 4 + 4] * 2 and torch.equal(known, ~thinned.mse.isnan())
    for measured, expected in ((thinned.lpips, whole.lpips), (thinned.mse, whole.mse)):
        torch.testing.assert_close(measured[known], expected[known], rtol=0, atol=0)
    for prefix in (*followed, ()):
        for level in mini.config.levels:
            assert known[:, mini.config.space.prefix((*prefix, level))].all()


def made_up(rows: int, noise: float) -> tuple[Tensor, Tensor]:
    """Rows of 60 columns that follow from three numbers each, with noise; the same with four fifths hidden in most."""
    generator = torch.Generator().manual_seed(0)
    loadings, mean = torch.randn(60, 3, generator=generator), torch.randn(60, generator=generator)
    values = mean + torch.randn(rows, 3, generator=generator) @ loadings.T
    values = (values + noise * torch.randn(values.shape, generator=generator)).double()
    hidden = torch.stack([torch.rand(60, generator=generator) < 0.8 for _ in range(rows // 10)]).repeat_interleave(
        10, 0
    )
    hidden[:30] = False
    return values, values.masked_fill(hidden, torch.nan)


def test_completed_rows_are_as_near_as_the_noise_allows() -> None:
    values, gaps = made_up(200, noise=0.1)
    model = FactorModel.fit(gaps, factors=3)
    completed = model.complete(gaps)
    known = ~gaps.isnan()
    assert torch.equal(completed[known], values[known]) and not completed.isnan().any()
    error = (completed - values)[~known].square().mean().sqrt().item()
    # The columns spread by about 1.8; noise alone, in what is hidden and in the 12 that are known, makes about 0.12.
    assert 0.1 < error < 0.15
    assert model.noise.sqrt().mean().item() == pytest.approx(0.1, rel=0.1)


def test_more_factors_than_there_are_hurt_little() -> None:
    values, gaps = made_up(200, noise=0.1)
    completed = FactorModel.fit(gaps, factors=8).complete(gaps)
    assert (completed - values)[gaps.isnan()].square().mean().sqrt().item() < 0.25


def test_too_few_whole_rows_are_refused() -> None:
    _, gaps = made_up(200, noise=0.1)
    with pytest.raises(ValueError, match="more than as many whole rows, got 30"):
        FactorModel.fit(gaps, factors=30)
