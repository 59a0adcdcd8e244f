"""Thinned searches: which prefixes are measured, and that they are measured as a whole search does."""

import pytest
import torch

from evatok.assignment import AssignmentSpace
from evatok.pretrained.lpips import LPIPS
from evatok.search.thinning import draw_prefixes
from evatok.search.walk import search_clips
from evatok.tokenizer.model import VideoTokenizer

PAPER = AssignmentSpace((32, 64, 128, 256, 512), 4)


def test_every_length_behind_a_random_path_and_the_shortest_path() -> None:
    drawn = draw_prefixes(PAPER, 1, torch.Generator().manual_seed(1))
    shortest = {(32,) * blocks for blocks in range(1, 5)}
    assert shortest <= drawn
    for blocks in range(1, 5):
        own = {prefix for prefix in drawn - shortest if len(prefix) == blocks}
        parents = {prefix[:-1] for prefix in own}
        assert len(parents) == 1 and {(*parents.copy().pop(), level) for level in PAPER.levels} <= own | shortest
    assert {prefix[:-1] for prefix in drawn if len(prefix) > 1} <= drawn
    assert drawn == draw_prefixes(PAPER, 1, torch.Generator().manual_seed(1))


def test_paths_are_uniform_over_the_space() -> None:
    generator = torch.Generator().manual_seed(0)
    longest = [prefix for _ in range(10_000) for prefix in draw_prefixes(PAPER, 1, generator) if len(prefix) == 4]
    counts = {prefix[:3]: 0 for prefix in longest}
    for prefix in longest:
        counts[prefix[:3]] += 1
    shortest = counts.pop((32, 32, 32))
    assert len(counts) == 124 and shortest >= 10_000
    # Five lengths behind each of 10,000 paths over 125 parents: 400 of each, give or take four deviations of 45.
    assert all(220 < count < 580 for count in counts.values())


def test_more_paths_measure_more() -> None:
    sizes = [len(draw_prefixes(PAPER, paths, torch.Generator().manual_seed(3))) for paths in (1, 2, 4)]
    assert sizes[0] <= 5 * 4 + 3 and sizes[0] < sizes[1] < sizes[2]


def test_what_is_measured_is_what_the_whole_search_measures(mini: VideoTokenizer) -> None:
    video, lpips = torch.randint(0, 256, (2, 16, 3, 32, 32), dtype=torch.uint8), LPIPS.from_pretrained("alex")
    space = mini.config.space
    wanted = draw_prefixes(space, 1, torch.Generator().manual_seed(0))
    whole = search_clips(mini, video, lpips)
    thinned = search_clips(mini, video, lpips, wanted=[wanted, wanted])
    known = ~thinned.lpips.isnan()
    measured = torch.tensor(sorted(space.prefix(prefix) for prefix in wanted))
    assert torch.equal(known[0].nonzero()[:, 0], measured) and torch.equal(known, known[:1].expand(2, -1))
    assert torch.equal(known, ~thinned.mse.isnan()) and 8 <= len(measured) < known.shape[1]
    for found, expected in ((thinned.lpips, whole.lpips), (thinned.mse, whole.mse)):
        torch.testing.assert_close(found[known], expected[known], rtol=0, atol=0)


def test_clips_of_a_batch_are_each_measured_under_their_own_prefixes(mini: VideoTokenizer) -> None:
    video, lpips = torch.randint(0, 256, (4, 16, 3, 32, 32), dtype=torch.uint8), LPIPS.from_pretrained("alex")
    space, generator = mini.config.space, torch.Generator().manual_seed(0)
    own = [draw_prefixes(space, 1, generator) for _ in range(3)]
    assert len(set(own)) > 1
    whole, thinned = search_clips(mini, video, lpips), search_clips(mini, video, lpips, wanted=[*own, None])
    for row, wanted in enumerate(own):
        measured = torch.tensor(sorted(space.prefix(prefix) for prefix in wanted))
        assert torch.equal(thinned.lpips[row].isfinite().nonzero()[:, 0], measured)
    assert thinned.lpips[3].isfinite().all()
    known = thinned.lpips.isfinite()
    for found, expected in ((thinned.lpips, whole.lpips), (thinned.mse, whole.mse)):
        torch.testing.assert_close(found[known], expected[known], rtol=1e-5, atol=1e-6)


def test_prefixes_of_another_number_of_clips_are_refused(mini: VideoTokenizer) -> None:
    video, lpips = torch.zeros(2, 16, 3, 32, 32, dtype=torch.uint8), LPIPS.from_pretrained("alex")
    with pytest.raises(ValueError, match=r"wanted must be given for each of the 2 clips, got 1"):
        search_clips(mini, video, lpips, wanted=[None])


def test_what_prefixes_begin_with_is_measured_too(mini: VideoTokenizer) -> None:
    video, lpips = torch.zeros(1, 16, 3, 32, 32, dtype=torch.uint8), LPIPS.from_pretrained("alex")
    long, space = (mini.config.levels[1],) * 3, mini.config.space
    known = search_clips(mini, video, lpips, wanted=[[long]]).lpips[0].isfinite().nonzero()[:, 0].tolist()
    assert known == sorted(space.prefix(long[:blocks]) for blocks in (1, 2, 3))
