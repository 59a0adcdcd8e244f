"""Stage 2 on mini videos: whole, resumed, with bad clips, and refused where it does not belong."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evatok.data.folders import FolderConfig, FolderSource
from evatok.search.cheap import CheapPredictors
from evatok.stages.search.dataset import SearchedClips
from evatok.stages.search.folder import read_table
from evatok.stages.search.parts import SearchConfig, open_clips
from evatok.stages.search.run import search
from evatok.tokenizer.model import VideoTokenizer
from evatok.video.reading import VideoError


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
    assert table.made_by["lpips_net"] == "alex" and "clips" not in table.made_by
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
    with pytest.raises(ValueError, match="5 clips in parts of 2"):
        search(replace(config, clips=9))  # its last part is not full


def test_a_search_of_drawn_clips_can_be_made_longer(config: SearchConfig, tmp_path: Path) -> None:
    short = search(replace(config, clips=4))
    kept = (tmp_path / "table" / "part-00001.parquet").stat().st_mtime_ns
    longer = search(replace(config, clips=7))
    assert (tmp_path / "table" / "part-00001.parquet").stat().st_mtime_ns == kept
    assert longer.keys[:4] == short.keys and len(longer) == 7 and torch.equal(longer.lpips[:4], short.lpips)
    assert torch.equal(search(replace(config, clips=7, folder=str(tmp_path / "whole"))).lpips, longer.lpips)
    with pytest.raises(ValueError, match="7 clips in parts of 2"):
        search(replace(config, clips=4))
    held_out = replace(config, drawn="held_out", clips=1, folder=str(tmp_path / "held_out"))
    search(held_out)
    with pytest.raises(ValueError, match="differs in: clips"):
        search(replace(held_out, clips=2))


def test_a_folder_without_a_search_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no search"):
        read_table(tmp_path)


def test_a_thinned_search_measures_a_part_of_each_clip_by_itself(config: SearchConfig, tmp_path: Path) -> None:
    whole = search(replace(config, clips=70, batch=8, part=8))
    thinned = replace(config, folder=str(tmp_path / "thinned"), clips=70, batch=8, part=8, paths=1, whole=64)
    table = search(thinned)
    known = ~table.lpips.isnan()
    assert known[:64].all() and table.keys == whole.keys and table.whole.keys == whole.keys[:64]
    # Two levels, four blocks: two lengths of each along the path, and of the shortest path what is not among them.
    assert all(8 <= count <= 11 for count in known[64:].sum(1).tolist())
    assert len({tuple(row) for row in known[64:].tolist()}) > 1
    torch.testing.assert_close(table.lpips[known], whole.lpips[known])
    torch.testing.assert_close(table.mse[known], whole.mse[known])
    assert torch.equal(table.lpips.isnan(), table.mse.isnan())
    read = read_table(tmp_path / "thinned")
    torch.testing.assert_close(read.lpips, table.lpips, equal_nan=True)
    clips = SearchedClips(tmp_path / "thinned")
    assert torch.equal(clips.frames(67), open_clips(thinned, 16)[67].video[0])
    assert clips.whole.table.keys == whole.keys[:64] and torch.equal(clips.whole.frames(5), clips.frames(5))
    cheap = CheapPredictors.read(tmp_path / "thinned" / "predictors.safetensors")
    torch.testing.assert_close(cheap.mean, whole.lpips[:64].double().mean(0))
    with pytest.raises(ValueError, match="differs in: paths"):
        search(replace(thinned, paths=3))


def test_parts_of_any_size_have_the_same_paths(config: SearchConfig, tmp_path: Path) -> None:
    thinned = replace(config, clips=68, batch=4, part=34, paths=1, whole=64)
    other = replace(thinned, folder=str(tmp_path / "other"), batch=9, part=17)
    first, second = search(thinned), search(other)
    assert torch.equal(first.lpips.isnan(), second.lpips.isnan())
    torch.testing.assert_close(first.lpips[64:], second.lpips[64:], equal_nan=True)


def test_a_thinned_search_needs_whole_clips_drawn_at_random(config: SearchConfig) -> None:
    with pytest.raises(ValueError, match="whole must be at least 64 for a thinned search, got 10"):
        replace(config, paths=2, whole=10)
    with pytest.raises(ValueError, match="held-out clips are measured wholly"):
        replace(config, paths=2, drawn="held_out")
