"""Cheap predictors of searched clips: fitted, saved, and the same from a table's columns as from frames."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from evatok.allocation.predictors import Mean, Motion, motion, table_of
from evatok.assignment import AssignmentSpace
from evatok.pretrained.lpips import LPIPS
from evatok.search.cheap import CheapPredictors, Error, Search
from evatok.search.table import SearchTable, TableError
from evatok.search.walk import search_clips
from evatok.tokenizer.model import VideoTokenizer


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LPIPS("alex")


@pytest.fixture(scope="module")
def video() -> Tensor:
    """Twelve clips, each livelier than the one before."""
    generator = torch.Generator().manual_seed(3)
    picture = torch.rand(12, 3, 48, 48, generator=generator)
    frames = [torch.stack([picture[clip].roll(t * clip // 4, 2)[:, :32, :32] for t in range(16)]) for clip in range(12)]
    return (torch.stack(frames) * 255).to(torch.uint8)


@pytest.fixture(scope="module")
def searched(mini: VideoTokenizer, lpips: LPIPS, video: Tensor) -> SearchTable:
    values = search_clips(mini, video, lpips)
    keys = tuple(f"a:{clip}@0+1" for clip in range(12))
    return SearchTable(mini.config.space, tuple(range(12)), keys, values.mse, values.lpips, motion(video, 4), {})


def test_predictors_are_the_same_from_a_table_and_from_frames(
    searched: SearchTable, video: Tensor, mini: VideoTokenizer, lpips: LPIPS
) -> None:
    cheap = CheapPredictors.fit(searched)
    tables = cheap.tables(searched)
    torch.testing.assert_close(Mean(cheap.space, cheap.mean, 4).table(video), tables["mean"])
    torch.testing.assert_close(Motion(cheap.motion, 4).table(video), tables["motion"])
    torch.testing.assert_close(Error(cheap.error, mini).table(video), tables["error"], rtol=0, atol=1e-5)
    torch.testing.assert_close(Search(mini, lpips).table(video), searched.clip_lpips, rtol=0, atol=1e-5)
    torch.testing.assert_close(tables["mean"][5], searched.clip_lpips.double().mean(0))


def test_shorter_clips_have_smaller_tables(
    searched: SearchTable, video: Tensor, mini: VideoTokenizer, lpips: LPIPS
) -> None:
    cheap, some = CheapPredictors.fit(searched), video[:2, :8]
    for predictor in (Mean(cheap.space, cheap.mean, 4), Motion(cheap.motion, 4), Error(cheap.error, mini)):
        assert predictor.table(some).shape == (2, 4)
    measured = Search(mini, lpips).table(some)
    expected = table_of(searched.lpips[:2], mini.config.space.of_blocks(2))
    torch.testing.assert_close(measured, expected, rtol=0, atol=1e-5)
    assert Search(mini, lpips).table(video[:1, :3]).shape == (1, 2)


def test_they_come_back_from_their_file(searched: SearchTable, tmp_path: Path) -> None:
    cheap = CheapPredictors.fit(searched)
    cheap.write(tmp_path / "predictors.safetensors")
    back = CheapPredictors.read(tmp_path / "predictors.safetensors").tables(searched)
    assert all(torch.equal(table, back[name]) for name, table in cheap.tables(searched).items())
    (tmp_path / "other.safetensors").write_text("nothing")
    with pytest.raises(TableError, match=r"other\.safetensors holds no predictors"):
        CheapPredictors.read(tmp_path / "other.safetensors")


def test_tables_that_do_not_fit_are_refused(searched: SearchTable) -> None:
    with pytest.raises(TableError, match="at least 2 clips, the table has 1"):
        CheapPredictors.fit(searched.rows([0]))
    space = AssignmentSpace((1, 2), 1)
    other = SearchTable(space, (0,), ("a",), torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 1), {})
    with pytest.raises(TableError, match="these predictors are for"):
        CheapPredictors.fit(searched).tables(other)
