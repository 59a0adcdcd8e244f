"""The page of whatever a folder holds: it stands alone, says what is missing, and no name becomes markup."""

import json
import shutil
from dataclasses import asdict
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard.writer import SummaryWriter

from evatok.cli import FAILED, main
from evatok.evaluation.result_card import Protocol, ResultCard
from evatok.reports.generated import write_cards
from evatok.reports.run.log import read_log
from evatok.reports.run.report import write_report
from evatok.search.table import SearchTable
from evatok.stages.proxy import ProxyConfig, train_proxy
from evatok.stages.search.folder import Plan
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.resuming import RunConfig
from evatok.training.task import Progress
from evatok.utils.files import write_json
from tests.conftest import MINI
from tests.runs import mini_config

RESULTS = Path(__file__).parents[2] / "docs" / "results"
# Elements that have no end.
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """A page as a browser reads it: every element is closed, and nothing is asked for from anywhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.pictures: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "object", "base")
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert value and value.startswith(("data:image/", "#"))
            if name == "alt":
                self.pictures.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            assert "url(" not in data and "@import" not in data
            return
        self.text += data
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)


def report(folder: Path) -> Page:
    write_report(folder, folder.parent / "page.html")
    return Page(folder.parent / "page.html")


def run_config(folder: Path, videos: Path, **loop: str) -> ProxyConfig:
    config = mini_config(folder, videos, **loop)
    folder.mkdir()
    RunConfig(folder, config, resume=False).write(0)
    return config


def log(folder: Path, steps: range) -> Path:
    """What accelerate's tracker leaves."""
    with SummaryWriter(str(folder / "log" / "evatok")) as writer:
        for step in steps:
            writer.add_scalar("loss/tokenizer/l1", 1 / step, step)
            writer.add_scalar("gradient/tokenizer", 2.0, step)
            writer.add_scalar("clips/s", 3.0, step)
            writer.add_scalar("codes/used/4", 0.5, step)
            writer.add_scalar("validation/held_out/psnr/4", 20 + step, step)
            writer.add_scalar("validation/held_out/psnr/8", 21 + step, step)
        writer.add_image("held_out", torch.zeros(3, 8, 8, dtype=torch.uint8), steps[-1])
    return next(iter((folder / "log" / "evatok").iterdir()))


def save_result(folder: Path, config: ProxyConfig, model: VideoTokenizer) -> None:
    model.save_pretrained(folder)
    validations = [
        {"steps": steps, "clips": 4 * steps, "seconds": 1.0, "scalars": {"held_out/psnr/8": 20.0 + steps}}
        for steps in (4, 8)
    ]
    progress = Progress(steps=8, clips=32, seconds=2.0, validations=validations)
    write_json(folder / "training.json", asdict(progress) | {"seed": 0, "config": asdict(config)})


def test_a_finished_run_has_all_of_its_parts(tmp_path: Path, video_folder: Path) -> None:
    train_proxy(mini_config(tmp_path / "run", video_folder, validate_every=4))
    page = report(tmp_path / "run")
    assert page.headings[:2] == ["evatok: run", "Training of a proxy tokenizer (stage 1)"]
    assert {
        "Losses of training, weighted",
        "Gradients, throughput, codes, learning rates",
        "Validation on held-out data",
        "Held-out clips as the last validation saw them",
        "Reconstructions by the exported tokenizer",
    } <= set(page.headings)
    assert {
        "loss tokenizer/l1",
        "norm of the gradient of tokenizer",
        "clips a second",
        "training: share of the codes used",
        "learning rate, by the schedule",
        "validation: PSNR, dB",
        "validation: LPIPS",
    } <= set(page.pictures)
    assert any(each.startswith("held_out at step 8") for each in page.pictures)
    assert "finished: 8 steps" in page.text and "perceptual_frames: 2" in page.text
    # Its own held-out video, and not the sample that stands in where there is none.
    assert any(each.startswith("held_out: held_out.mkv") for each in page.pictures)


def test_a_killed_run_shows_what_its_log_still_has(tmp_path: Path, video_folder: Path) -> None:
    folder = tmp_path / "run"
    run_config(folder, video_folder)
    events = log(folder, range(1, 9))
    events.write_bytes(events.read_bytes()[: events.stat().st_size // 2])
    found = read_log(folder, "tensorboard").numbers["loss/tokenizer/l1"]
    assert 1 <= len(found.steps) < 8 and found.values[0] == 1
    page = report(folder)
    assert "no checkpoint yet" in page.text and "loss tokenizer/l1" in page.pictures


def test_of_steps_that_a_resume_repeats_the_later_count(tmp_path: Path) -> None:
    first = log(tmp_path, range(1, 9))
    # Whatever the order in which the files are read.
    first.rename(first.with_name("events.out.tfevents.9999999999.read.last"))
    with SummaryWriter(str(tmp_path / "log" / "evatok"), filename_suffix=".resumed") as writer:
        for step in range(5, 11):
            writer.add_scalar("loss/tokenizer/l1", 7.0, step)
    found = read_log(tmp_path, "tensorboard").numbers["loss/tokenizer/l1"]
    assert list(found.steps) == [*range(1, 11)]
    assert [value == 7 for value in found.values] == [False] * 4 + [True] * 6


def test_without_a_log_checkpoints_tell(tmp_path: Path, video_folder: Path, mini: VideoTokenizer) -> None:
    folder = tmp_path / "run"
    config = run_config(folder, video_folder, tracker="none")
    save_result(folder / "checkpoints" / "step_00000008" / "export", config, mini)
    page = report(folder)
    assert "not finished: the last checkpoint is of step 8 of 8" in page.text
    assert "The run kept no log" in page.text
    assert "validation: PSNR, dB" in page.pictures


def test_without_tensorboard_it_says_what_brings_it(
    tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    run_config(folder, video_folder)
    log(folder, range(1, 3))
    monkeypatch.setitem(__import__("sys").modules, EventAccumulator.__module__, None)
    assert "evatok[train]" in report(folder).text


def test_no_name_becomes_markup(tmp_path: Path, video_folder: Path) -> None:
    evil = "<script>alert(1)</script>"
    folder = tmp_path / "<script>&<b>$x_{$"
    config = run_config(folder, video_folder)
    write_json(
        folder / "config.json",
        {"from_step": 0, "config": asdict(config) | {"init_from": evil}, "versions": {evil: evil}, "earlier": []},
    )
    with SummaryWriter(str(folder / "log" / "evatok")) as writer:
        writer.add_scalar(f"loss/{evil}", 1.0, 1)
        for step, length in product((1, 2), ("8", "16")):
            writer.add_scalar(f"validation/{evil}$x_{{$/psnr/{length}", 1.0, step)
    write_json(folder / '"><img onerror=x>\udcff.json', {"environment": {evil: evil}, "rows": [{evil: evil}]})
    page = report(folder)
    assert page.headings[0] == "evatok: <script>&<b>$x_{$" and evil in page.text
    assert r'"><img onerror=x>\udcff.json' in page.text
    assert "cannot be shown" not in page.text
    assert any(evil in picture for picture in page.pictures)


def test_records_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    named = {
        "curve.json": "a.json",
        "curve.parquet": "a.parquet",
        "router-report.json": "b.json",
        "tiny-evaluation.json": "c.json",
        "games-adaptive-generation.json": "d.json",
        "games-prediction.json": "e.json",
        "search-speed.json": "f.json",
        "tiny-128-training.json": "g.json",
    }
    for source, name in named.items():
        shutil.copy(RESULTS / source, folder / name)
    page = report(folder)
    titles = [
        "Result cards",
        "Quality over tokens",
        "Router report",
        "Evaluation of a tokenizer",
        "Evaluation of a generator",
        "Evaluation of frame prediction",
        "Benchmark: f",
        "Training of a proxy tokenizer (stage 1)",
    ]
    assert [each for each in page.headings if each in titles] == titles
    assert "cannot be shown" not in page.text and "samples.png, the sheet of samples, is not here" in page.text
    assert any(each.startswith("film: quality over tokens") for each in page.pictures)
    (folder / "a.parquet").unlink()
    assert "a.parquet, which has the operating points, is not here" in report(folder).text


def test_damaged_records_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    record = json.loads((RESULTS / "router-report.json").read_text())
    write_json(folder / "report.json", record | {"confusion": {"ours": None}})
    (folder / "half.json").write_text('{"environment": {')
    page = report(folder)
    assert "half.json" in page.text and "It cannot be read" in page.text
    assert "report.json" in page.text and "It cannot be shown" in page.text


def card(fvd: float, frames: int = 16) -> ResultCard:
    protocol = Protocol("generation", "FVD", None, "training", "ab" * 32, 8, 8, frames, 1, 12.0, (32, 32), (32, 32), "")
    return ResultCard(
        protocol, {"fvd": fvd}, ("tiny", "12"), ("made", "34"), 40.0, {"seed": 0}, None, [], "evatok evaluate", "2026"
    )


def test_cards_of_one_protocol_share_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for name, some in {"one": [card(11.5)], "two": [card(22.5)], "other": [card(33.5, frames=8)]}.items():
        (folder / name).mkdir(parents=True)
        write_cards(folder / name / "cards.json", some)
    # The record beside a file of cards has them too: they count once.
    write_json(folder / "one" / "generation.json", {"cards": [asdict(card(11.5))]})
    write_report(folder, tmp_path / "page.html")
    tables = [each.partition("</table>")[0] for each in (tmp_path / "page.html").read_text().split("<table>")[1:]]
    assert len(tables) == 2
    shared, alone = sorted(tables, key=lambda each: "33.5" in each)
    assert shared.count("11.5") == 1 and "22.5" in shared and ">one<" in shared and ">two<" in shared
    assert ">other<" in alone


def search(folder: Path, clips: int) -> None:
    """A search of two parts, of which the second is there if all four clips are asked for."""
    space = MINI.space
    made_by: dict[str, Any] = {"tokenizer": "mini", "checksum": "12", "sources": [{"folder": "videos", "name": "film"}]}
    made_by |= {"size": [32, 32], "seed": 0, "lpips_net": "alex", "drawn": "held_out"}
    plan = Plan(made_by, clips=4, part=2)
    plan.claim(folder)
    values = torch.rand(2, space.prefix_starts[-1]) + 0.1
    for part in plan.parts(folder)[: clips // 2]:
        table = SearchTable(space, tuple(part.places), ("film:a@0+1",) * 2, values, values, values[:, :4], made_by)
        table.write(Path(part.path))


def test_a_search_that_goes_on_says_so(tmp_path: Path) -> None:
    search(tmp_path / "search", clips=2)
    page = report(tmp_path / "search")
    assert "4, in 2 parts, 1 of which are not done" in page.text and not page.pictures
    search(tmp_path / "search", clips=4)
    assert report(tmp_path / "search").pictures == ["mean LPIPS of 4 clips under each of 16 assignments"]


def test_runs_may_be_called_as_parts_of_runs_are(tmp_path: Path, video_folder: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for name in ("final", "router", "log"):
        run_config(folder / name, video_folder)
    assert report(folder).headings.count("Training of a proxy tokenizer (stage 1)") == 3


def test_a_folder_of_others_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "others"
    folder.mkdir()
    (folder / "settings.json").write_text("{}")
    (folder / "list.json").write_text("[1, 2]")
    for name in ("search.json", "config.json"):
        (folder / name).write_text('{"seconds": 1}')
    page = tmp_path / "page.html"
    assert main(["report", str(folder), "-o", str(page)]) == FAILED
    assert "others holds nothing that evatok has written" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nowhere"), "-o", str(page)]) == FAILED
    assert "nowhere is no folder" in capsys.readouterr().err
    assert not page.exists()


def test_the_command_counts_sections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    shutil.copy(RESULTS / "search-speed.json", folder)
    assert main(["report", str(folder), "-o", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'page.html'}: 1 section\n"


def test_a_page_replaces_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "search-speed.json"
    shutil.copy(RESULTS / record.name, record)
    (tmp_path / "link.html").symlink_to(record)
    for output in (record, tmp_path / "link.html"):
        assert main(["report", str(tmp_path), "-o", str(output)]) == FAILED
        assert f"cannot write {output}: its name must end in .html" in capsys.readouterr().err
    assert record.read_bytes() == (RESULTS / record.name).read_bytes()
