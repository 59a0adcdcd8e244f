"""Cheap predictors of searched clips: fitted and saved."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from evatok.allocation.predictors import motion, table_of
from evatok.assignment import AssignmentSpace
from evatok.pretrained.lpips import LPIPS
from evatok.search.cheap import CheapPredictors
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


def test_they_say_what_their_regressions_say_of_the_columns(searched: SearchTable) -> None:
    cheap = CheapPredictors.fit(searched)
    tables = cheap.tables(searched)
    for row in range(12):
        torch.testing.assert_close(tables["mean"][row], searched.clip_lpips.double().mean(0))
    torch.testing.assert_close(tables["motion"], table_of(cheap.motion(searched.motion), searched.space))
    torch.testing.assert_close(tables["error"], table_of(cheap.error(searched.shortest_mse), searched.space))
    # Liveliness and how badly a clip is drawn say something of its LPIPS.
    errors = {name: (table - searched.clip_lpips).square().mean() for name, table in tables.items()}
    assert errors["motion"] < errors["mean"] and errors["error"] < errors["mean"]


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
