"""The benchmarks of data run, on little of it, and their records hold what they should."""

from pathlib import Path

import pytest
import torch

from benchmarks import fuzz, search_speed, source_speed
from evatok.data.children import Limits
from evatok.data.scanning import ScanConfig
from evatok.pretrained.lpips import LPIPS
from evatok.search.walk import search_clips
from evatok.tokenizer.model import VideoTokenizer
from tests.runs import mini_config


def test_fuzz_record_adds_up(tmp_path: Path) -> None:
    record = fuzz.fuzz(tmp_path, seed=3, count=32, config=ScanConfig(1, Limits(seconds=30.0)))
    assert record["good"] + record["bad"] == record["videos"] == 32
    assert all(sum(row.values()) == 2 for row in record["by_kind"].values())
    assert sum(record["reasons"].values()) == record["bad"] > 0
    assert record["by_kind"]["unchanged"] == {"good": 2, "bad": 0}
    assert record["contradictions"] == [] and 0 < record["peak_memory_mib"] < 4096


def test_source_speed_has_every_source_and_number_of_workers(
    tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVATOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(source_speed, "learner", lambda config: lambda batch: None)
    record = source_speed.measure(mini_config(tmp_path / "run", video_folder), tmp_path, [0, 1], seconds=0.01)
    assert set(record["sources"]) == {"videos", "shards", "mixture"}
    assert all(set(row) == {"0", "1"} for row in [*record["sources"].values(), record["fed"]])
    rates = record["sources"]["shards"]
    assert record["ratios"]["shards"]["1"] == rates["1"] / record["training"] and rates["1"] > 0
    lines = source_speed.table(record).splitlines()
    assert lines[0].endswith("clips/s") and len(lines) == 7
    assert lines[4].startswith(f"| shards | {rates['0']:.1f} (")


def test_search_speed_compares_searches_with_one_result(mini: VideoTokenizer) -> None:
    rows = search_speed.measure(mini.config, 1, "alex", repeats=1)
    assert [row["times as fast"] > 0 for row in rows] == [True] * 3 and rows[0]["times as fast"] == 1
    video, lpips = torch.randint(0, 256, (2, 16, 3, 32, 32), dtype=torch.uint8), LPIPS.from_pretrained("alex")
    shared = search_clips(mini, mini.config, video, lpips).lpips[:, mini.config.space.prefixes].mean(2)
    single = search_speed.one_by_one(mini, mini.config, video, lpips)
    torch.testing.assert_close(shared, single, rtol=0, atol=1e-4)
