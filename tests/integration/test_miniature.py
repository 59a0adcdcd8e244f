"""The paper in miniature: its steps parse, resume and leave marks; its page says what the records say."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks.epochs import steps_of
from benchmarks.miniature import Gain, Runs, gains, page
from evatok.cli import main
from evatok.evaluation.result_card import Protocol, ResultCard
from evatok.reports.generated import write_cards
from evatok.tokens.token_set import TokenSet

ROOT = Path(__file__).parents[2]
STEP = [sys.executable, "-m", "benchmarks.step"]


def steps_left(folder: Path) -> dict[str, list[str]]:
    """The commands that make would run in a copy of what it reads, by the names of their marks."""
    for name in ("Makefile", "benchmarks", "pyproject.toml", "constraints.txt"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").mkdir(exist_ok=True)
    (folder / ".venv" / ".evatok-setup").touch()
    listed = subprocess.run(["make", "reproduce", "--dry-run"], cwd=folder, capture_output=True, text=True, check=True)
    lines = [shlex.split(line) for line in listed.stdout.replace("\\\n", " ").splitlines() if "benchmarks.step" in line]
    return {Path(words[3]).stem: words[4:] for words in lines}


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_every_step_of_the_miniature_is_listed_and_parses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = steps_left(tmp_path)
    order = list(steps)
    assert {"film", "photographs", "proxy", "search", "search-proxy", "router", "final", "uniform"} <= {*order}
    assert {f"generation-{kind}" for kind in ("final", "uniform")} <= {*order}
    assert order.index("proxy") < order.index("search") < order.index("router") < order.index("final")
    monkeypatch.chdir(ROOT)
    for name, words in steps.items():
        tool, *rest = words
        if Path(tool).name == "evatok" and "data" not in rest[:1]:
            # The steps of a generator are counted by a command of their own.
            rest = [word for word in rest[: rest.index("--loop.steps")]] if "--loop.steps" in rest else rest
            assert main([*rest, "--print_config"]) == 0, name


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_what_is_done_is_not_listed_and_what_was_begun_resumes(tmp_path: Path) -> None:
    done = tmp_path / "runs" / "miniature" / "done"
    done.mkdir(parents=True)
    for name in ("film", "photographs"):
        (done / f"{name}.json").touch()
    (tmp_path / "runs" / "miniature" / "proxy" / "checkpoints" / "step_00000250").mkdir(parents=True)
    steps = steps_left(tmp_path)
    assert not {"film", "photographs"} & {*steps}
    assert steps["proxy"][-1] == "--resume"
    assert "--resume" not in steps["final"]


def test_a_step_leaves_its_mark_when_it_has_succeeded(tmp_path: Path) -> None:
    mark = tmp_path / "done" / "echo.json"
    subprocess.run([*STEP, str(mark), sys.executable, "-c", "print('told')"], cwd=ROOT, check=True)
    found = json.loads(mark.read_text())
    assert found["command"] == shlex.join([sys.executable, "-c", "print('told')"])
    assert found["seconds"] > 0 and found["commit"]
    assert mark.with_suffix(".log").read_text() == "told\n"


def test_a_step_that_fails_leaves_none_and_its_code(tmp_path: Path) -> None:
    mark = tmp_path / "fails.json"
    ended = subprocess.run([*STEP, str(mark), sys.executable, "-c", "raise SystemExit(3)"], cwd=ROOT, check=False)
    assert ended.returncode == 3 and not mark.exists()


def test_a_step_that_is_stopped_tells_its_command_and_counts_its_seconds(tmp_path: Path) -> None:
    mark, begun = tmp_path / "stopped.json", tmp_path / "begun"
    code = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(60)"
    step = subprocess.Popen([*STEP, str(mark), sys.executable, "-c", code], cwd=ROOT)
    while not begun.exists():
        assert step.poll() is None
        time.sleep(0.05)
    step.terminate()
    assert step.wait(30) == 128 + 15
    assert not mark.exists()
    earlier = float(mark.with_suffix(".stopped").read_text().split()[0])
    subprocess.run([*STEP, str(mark), sys.executable, "-c", ""], cwd=ROOT, check=True)
    assert json.loads(mark.read_text())["seconds"] > earlier > 0
    assert not mark.with_suffix(".stopped").exists()


@pytest.mark.parametrize(
    ("here", "interval", "verdict"),
    [
        (5.0, (1.0, 9.0), "the same way"),
        (5.0, (-1.0, 9.0), "the same way, by chance perhaps: the interval holds 0"),
        (-5.0, (-9.0, -1.0), "the other way"),
        (5.0, None, "the same way (no interval)"),
    ],
)
def test_what_a_gain_points_to(here: float, interval: tuple[float, float] | None, verdict: str) -> None:
    assert Gain("", "%", 10.0, "", here, "", interval).verdict == verdict


def card(metric: str, **numbers: float | None) -> ResultCard:
    """A card of 100 tokens a clip."""
    protocol = Protocol(
        "reconstruction", metric, None, "validation", "", 104, 104, 16, 1, None, (64, 64), (64, 64), "none"
    )
    return ResultCard(
        protocol, numbers, ("final", ""), None, 100.0, {}, None, [], "evaluate", "2026-01-01", {}, "0" * 40
    )


def test_the_page_says_what_the_records_say(tmp_path: Path) -> None:
    results = ROOT / "docs" / "results"
    for kind, record in {"final": "games-adaptive-generation", "uniform": "games-uniform-generation"}.items():
        (tmp_path / f"generation-{kind}").mkdir()
        shutil.copy(results / f"{record}.json", tmp_path / f"generation-{kind}" / "generation.json")
        (tmp_path / f"reconstruction-{kind}").mkdir()
    for kind, fvd in {"final": 90.0, "uniform": 120.0}.items():
        cards = [card("FVD", fvd=fvd, fvd_low=fvd - 9, fvd_high=fvd + 9, fvd_floor=None), card("LPIPS", lpips=0.125)]
        write_cards(tmp_path / f"reconstruction-{kind}" / "cards.json", cards)
    (tmp_path / "curve").mkdir()
    for name in ("curve.json", "curve.parquet"):
        shutil.copy(results / name, tmp_path / "curve" / name)
    report = json.loads((results / "router-report.json").read_text())
    report["sources"]["all"]["scores"]["1.2"]["best uniform of each clip"] = {"percentile": 80.0}
    (tmp_path / "curve" / "router-report.json").write_text(json.dumps(report))
    shutil.copy(results / "final-tokenizers.json", tmp_path / "tokenizers.json")
    subprocess.run([*STEP, str(tmp_path / "done" / "proxy.json"), sys.executable, "-c", ""], cwd=ROOT, check=True)
    runs = Runs(tmp_path)
    text = re.sub(" +", " ", page(runs, gains(runs)))
    assert "**26.6** [22.3, 31.1] %" in text  # over the uniform twin
    assert "**35.5** [33.8, 37.1] %" in text  # the router with the proxy
    assert "**11.5** points: 91.5 against 80.0" in text
    assert "**25.0** % lower: 90 [81, 99] against 120 [111, 129], 0 % fewer tokens" in text
    assert text.count("the two intervals overlap") == 1  # of gFVD
    assert "**38.6** % fewer: 79 against 128" in text
    assert "| adaptive | 78.6 | 0.084 | 680 [599, 778] | 31.9 ± 4.3 | 42% |" in text
    assert "| final by beam 2 | uniform by uniform | 46.5 % [43.7, 49.4] |" in text
    assert "| proxy | 0.0 |" in text
    assert "{" not in text


def test_steps_of_epochs_count_what_is_predicted() -> None:
    # Three clips of two blocks and 10 codes each: with a length token a block and the class, 13 of a sequence's 14
    # tokens are followed by another.
    class Tokens(list[None]):
        """As many clips as the list has entries."""

        format = SimpleNamespace(clip_blocks=2)
        ids = range(30)

    tokens = cast(TokenSet, Tokens([None] * 3))
    assert steps_of(tokens, epochs=5, batch=13) == 15
    assert steps_of(tokens, epochs=0.1, batch=1000) == 1
