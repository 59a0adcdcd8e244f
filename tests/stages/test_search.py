"""Stage 2 on mini videos: whole, resumed, with bad clips, and refused where it does not belong."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evatok.data.folders import FolderConfig, FolderSource
from evatok.data.video import VideoError
from evatok.search.cheap import CheapPredictors
from evatok.stages.search import read_table, search
from evatok.stages.search_parts import SearchConfig, open_clips
from evatok.tokenizer.model import VideoTokenizer


@pytest.fixture
def config(tmp_path: Path, video_folder: Path, mini: VideoTokenizer) -> SearchConfig:
    mini.save_pretrained(tmp_path / "mini")
    return SearchConfig(
        tokenizer=str(tmp_path / "mini"),
        sources=[FolderConfig(str(video_folder))],
        folder=str(tmp_path / "table"),
        clips=5,
        size=(32, 32),
        batch=2,
        part=2,
    )


def test_search_of_drawn_clips(config: SearchConfig, tmp_path: Path) -> None:
    table = search(config)
    assert table.places == (0, 1, 2, 3, 4) and table.clip_lpips.shape == (5, 16)
    clips = open_clips(config, 16)
    assert table.keys == tuple(clips[place].keys[0] for place in range(5))
    assert table.made_by["network"] == "alex" and table.made_by["clips"] == 5
    assert torch.isfinite(table.lpips).all() and (table.mse > 0).all()
    cheap = CheapPredictors.read(tmp_path / "table" / "predictors.safetensors")
    torch.testing.assert_close(cheap.tables(table)["mean"][0], table.clip_lpips.double().mean(0))


def test_a_search_that_was_killed_goes_on_and_ends_with_the_same_table(config: SearchConfig, tmp_path: Path) -> None:
    whole = search(config)
    again = replace(config, folder=str(tmp_path / "again"))
    search(again)
    (tmp_path / "again" / "part-00001.parquet").unlink()
    with pytest.raises(ValueError, match=r"lacks 1 of 3 parts: run the same"):
        read_table(tmp_path / "again")
    kept = (tmp_path / "again" / "part-00000.parquet").stat().st_mtime_ns
    resumed = search(again)
    assert (tmp_path / "again" / "part-00000.parquet").stat().st_mtime_ns == kept
    assert (
        resumed.keys == whole.keys and torch.equal(resumed.lpips, whole.lpips) and torch.equal(resumed.mse, whole.mse)
    )


def test_clips_that_cannot_be_read_are_left_out_and_named(
    config: SearchConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = FolderSource.read

    def broken(self: FolderSource, index: int, start: int, count: int, step: int) -> torch.Tensor:
        if index == 1:
            raise VideoError("1.mp4 breaks off")
        return read(self, index, start, count, step)

    monkeypatch.setattr(FolderSource, "read", broken)
    with caplog.at_level(logging.WARNING, logger="evatok"):
        table = search(replace(config, drawn="held_out", clips=4))
    assert table.places == (0, 1) and table.skipped == {2: "1.mp4 breaks off", 3: "1.mp4 breaks off"}
    assert "skipped 2 of 4 clips" in caplog.text


def test_another_search_in_the_same_folder_is_refused(config: SearchConfig) -> None:
    search(config)
    with pytest.raises(ValueError, match="holds another search, which differs in: seed; choose another"):
        search(replace(config, seed=1))
    with pytest.raises(ValueError, match="5 clips in parts of 2"):
        search(replace(config, part=3))


def test_a_folder_without_a_search_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no search"):
        read_table(tmp_path)
