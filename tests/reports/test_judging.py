"""Curves and the routers' report on searched mini clips."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
import torch

from evatok.allocation.calibration import BEAM_WIDTHS, Calibration
from evatok.allocation.reward import ProxyReward
from evatok.cli import main
from evatok.data.folders import FileConfig, FolderConfig
from evatok.nn.transformer import TransformerConfig
from evatok.reports.curve import curve, figure_of
from evatok.reports.judging import JudgingConfig, judged
from evatok.reports.router_report import RouterReportConfig, router_report
from evatok.router.config import Head, RouterConfig
from evatok.router.model import Router
from evatok.stages.search.folder import read_table
from evatok.stages.search.parts import SearchConfig
from evatok.stages.search.run import search
from evatok.tokenizer.model import VideoTokenizer


@pytest.fixture
def config(tmp_path: Path, video_folder: Path, mini: VideoTokenizer) -> RouterReportConfig:
    """Two untrained routers on 4 held-out clips."""
    mini.save_pretrained(tmp_path / "mini")
    searched = SearchConfig(
        tokenizer=str(tmp_path / "mini"),
        sources=[FolderConfig(str(video_folder))],
        folder=str(tmp_path / "search"),
        clips=4,
        size=(32, 32),
    )
    table = search(searched)
    shutil.copy(tmp_path / "held_out.mkv", tmp_path / "again.mkv")
    held_out: list = [FileConfig(str(tmp_path / name)) for name in ("held_out.mkv", "again.mkv")]
    search(replace(searched, sources=held_out, clips=2, folder=str(tmp_path / "held_out"), drawn="held_out"))
    calibration = Calibration(ProxyReward.fit(table.clip_lpips, table.space.costs))
    heads: dict[str, Head] = {"ours": "prefix_regression", "paper": "classification"}
    for name, head in heads.items():
        made = RouterConfig(
            (4, 8), 4, side=16, transformer=TransformerConfig(32, 1, 2), head=head, calibration=calibration
        )
        router = Router(made)
        if name == "ours":
            router.network.set_statistics(table.lpips)
        router.save_pretrained(tmp_path / name)
    return RouterReportConfig(
        train=str(tmp_path / "search"),
        held_out=str(tmp_path / "held_out"),
        folder=str(tmp_path / "out"),
        routers={name: str(tmp_path / name) for name in heads},
        draws=5,
        tokenizer=str(tmp_path / "mini"),
    )


def test_predictions_of_held_out_clips(config: RouterReportConfig, tmp_path: Path) -> None:
    found = judged(config)
    assert [each.name for each in found.predictions] == ["search", "mean", "error", "motion", "ours", "paper"]
    tables = {each.name: each.table for each in found.predictions}
    torch.testing.assert_close(tables["mean"][0], read_table(tmp_path / "search").clip_lpips.double().mean(0))
    # A regression that has learned nothing says the training clips' mean.
    torch.testing.assert_close(tables["ours"].double(), tables["mean"], rtol=0, atol=1e-5)
    assert found.predictions[-1].w_q == 1.2


def test_curve_writes_points_comparisons_and_a_figure(
    config: RouterReportConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    path = curve(config)
    assert sorted(each.name for each in path.parent.iterdir()) == ["curve.json", "curve.parquet", "curve.png"]
    rows = pyarrow.parquet.read_table(path.parent / "curve.parquet").to_pylist()
    truth = read_table(Path(config.held_out))
    wholes = [row for row in rows if row["source"] == "all"]
    [uniform] = [row for row in wholes if row["rule"] == "uniform" and row["setting"] == 8]
    # 64 codes and two levels: 6 bits a token, 1 a block.
    assert (uniform["tokens"], uniform["bits"]) == (32, 32 * 6 + 4)
    assert uniform["lpips"] == pytest.approx(truth.clip_lpips[:, -1].mean().item())
    assert uniform["psnr"] == pytest.approx(truth.clip_psnr[:, -1].mean().item())
    best = [row for row in wholes if (row["predictor"], row["rule"], row["setting"]) == ("search", "reward", 2.0)]
    assert best[0]["lpips"] == pytest.approx(truth.clip_lpips.amin(1).mean().item())
    record = json.loads(path.read_text())
    assert (
        record["clips"] == 4
        and record["clips_of"] == {"all": 4, "held_out": 2, "again": 2}
        and record["config"]["draws"] == 5
    )
    compared = {(each["strategy"], each["reference"]) for each in record["sources"]["all"]["comparisons"]}
    assert ("search reward", "mean reward") in compared and ("ours reward", "uniform") in compared
    assert set(record["sources"]["all"]["share_of_search_over_mean"]) == {
        f"{name} reward"
        for name in ("error", "motion", "ours", "paper", *(f"ours beam {width}" for width in BEAM_WIDTHS))
    }
    assert "search reward" in capsys.readouterr().out
    drawn = figure_of(record, rows).axes
    assert len(drawn) == 6 and drawn[0].get_title(loc="left") == "all, 4 clips"


def test_report(config: RouterReportConfig, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(router_report(config).read_text())
    assert record["sources"].keys() == {"all", "held_out", "again"} and record["sources"]["all"]["clips"] == 4
    by_preference = record["sources"]["all"]["scores"]
    scores = by_preference["1.2"]
    assert scores["search"]["percentile"] == pytest.approx(100) and scores["search"]["top1"] == 1
    assert scores["ours"]["percentile"] == pytest.approx(scores["mean"]["percentile"])
    assert "paper" in scores and "paper" not in by_preference["1"]
    assert scores["best uniform"]["percentile"] <= scores["best uniform of each clip"]["percentile"] <= 100
    assert record["best_uniform"]["0.4"] in (4, 8)
    # One router says the same of every clip, so all take what a single assignment has; the other knows no budget.
    [budgets] = record["budgets"].values()
    assert [row["asked"] for row in budgets] == pytest.approx([16 * 2 ** (step / 6) for step in range(1, 6)])
    assert all(half in range(16, 33, 4) for row in budgets for half in row["tokens_of_halves"])
    assert len(record["confusion"]["ours"]["by_block"]) == 4
    assert record["seconds_a_clip"].keys() == {"ours", "paper", "tokenizer"}
    assert "percentile at w_q" in capsys.readouterr().out


def test_what_does_not_belong_together_is_refused(config: RouterReportConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="videos of validation are in training"):
        judged(replace(config, held_out=config.train))
    with pytest.raises(ValueError, match="routers cannot be called 'search'"):
        JudgingConfig("a", "b", "c", {"search": "x"})
    other = Router(RouterConfig((4, 16), 4, side=16, transformer=TransformerConfig(32, 1, 2)))
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="other is a router for"):
        judged(replace(config, routers={"other": str(tmp_path / "other")}))


def test_commands(config: RouterReportConfig, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--train", config.train, "--held-out", config.held_out, "--folder", config.folder, "--draws", "3"]
    assert main(["curve", *words]) == 0
    assert main(["router-report", *words]) == 0
    out = capsys.readouterr().out
    assert "curve.json" in out and "router-report.json" in out
