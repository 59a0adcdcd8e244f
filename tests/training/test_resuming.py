"""What a run goes by, and what of it a resume may change."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from evatok.training.loop import LoopConfig, train
from evatok.training.resuming import RunConfig
from tests.rivals import Rivals, RunOf


@dataclass(frozen=True)
class Model:
    width: int = 8
    levels: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Wide:
    widths: tuple[int, ...] = (8, 8)


@dataclass(frozen=True)
class Stage:
    model: Model | Wide = Model()
    parts: list[Model] = field(default_factory=lambda: [Model(), Model()])
    rate: float = 0.5
    name: str | None = None


def begun(folder: Path, config: Any = Stage()) -> None:
    RunConfig(folder, config, resume=False).write(0)


def resumed(folder: Path, config: Any, fixed: tuple[str, ...] = ("model",)) -> list[str]:
    return RunConfig(folder, config, resume=True).differences(fixed)


def written(folder: Path) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return entries


def test_it_says_classes_values_and_versions(tmp_path: Path) -> None:
    begun(tmp_path, Stage(model=Wide()))
    found = written(tmp_path)
    assert found["config"]["model"] == {"type": "Wide", "widths": [8, 8]}
    assert found["config"]["parts"][1] == {"type": "Model", "width": 8, "levels": [1, 2]}
    assert found["versions"].keys() == {"evatok", "commit", "torch", "accelerate", "python"}
    assert found["versions"]["torch"] == torch.__version__
    assert (found["from_step"], found["earlier"]) == (0, [])
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_every_difference_is_named_with_both_values(tmp_path: Path) -> None:
    begun(tmp_path)
    assert resumed(tmp_path, Stage()) == []
    parts = [Model(), Model(width=4, levels=(1,)), Model()]
    assert resumed(tmp_path, Stage(parts=parts, rate=0.25, name="x")) == [
        "parts.1.width: 8, now 4",
        "parts.1.levels: [1, 2], now [1]",
        'parts.2: absent, now {"type": "Model", "width": 8, "levels": [1, 2]}',
        "rate: 0.5, now 0.25",
        'name: null, now "x"',
    ]


def test_versions_are_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(tmp_path)
    monkeypatch.setattr("evatok.training.resuming.commit", lambda: "0123-dirty")
    [named] = resumed(tmp_path, Stage())
    assert named.startswith("versions.commit: ") and named.endswith(', now "0123-dirty"')


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (Stage(model=Model(width=9)), "model.width: 8, now 9"),
        (Stage(model=Model(9, (3,)), rate=1), r"model.width: 8, now 9; model.levels: \[1, 2\], now \[3\]$"),
        (Stage(model=Wide()), 'model.type: "Model", now "Wide"'),
    ],
)
def test_what_must_stay_is_refused_by_name(tmp_path: Path, changed: Stage, named: str) -> None:
    begun(tmp_path)
    with pytest.raises(ValueError, match=named):
        resumed(tmp_path, changed)
    assert written(tmp_path)["config"]["model"]["width"] == 8


def test_only_whole_names_must_stay(tmp_path: Path) -> None:
    begun(tmp_path)
    assert resumed(tmp_path, Stage(rate=1, model=Model(3)), fixed=("mod", "rat", "rate.x")) != []


def test_what_an_earlier_version_did_not_have_is_new(tmp_path: Path) -> None:
    begun(tmp_path)
    entries = written(tmp_path)
    del entries["config"]["model"]["width"]
    (tmp_path / "config.json").write_text(json.dumps(entries))
    assert resumed(tmp_path, Stage()) == ["model.width: absent, now 8"]


def test_nothing_that_held_is_lost(tmp_path: Path) -> None:
    begun(tmp_path)
    for step, rate in ((3, 0.25), (5, 0.25), (7, 0.125)):
        RunConfig(tmp_path, Stage(rate=rate), resume=True).write(step)
    found = written(tmp_path)
    held = [(each["from_step"], each["config"]["rate"]) for each in (*found["earlier"], found)]
    assert held == [(0, 0.5), (3, 0.25), (7, 0.125)]
    assert all(each.keys() == {"from_step", "config", "versions"} for each in found["earlier"])
    begun(tmp_path)
    assert written(tmp_path)["earlier"] == []


def test_a_run_without_the_file_goes_on_and_a_file_that_is_none_does_not(tmp_path: Path) -> None:
    assert resumed(tmp_path, Stage()) == []
    for text in ("[]", '{"config": {}}', '{"from_step": 0, "config": [], "versions": {}, "earlier": []}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"config\.json is not what a run writes"):
            resumed(tmp_path, Stage())
    (tmp_path / "config.json").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"config\.json cannot be read: 'utf-8' codec"):
        resumed(tmp_path, Stage())


def test_what_a_stranger_wrote_into_it_is_told_in_few_words(tmp_path: Path) -> None:
    begun(tmp_path)
    entries = written(tmp_path)
    entries["config"]["model"] = {f"{number}\n\x1b[31m": "x" * 999 for number in range(500)} | {"width": [[]] * 999}
    entries["config"] |= {"parts": [{}, 1, None], "rate": {"a": 1}, "y" * 999: "\n", "z": None}
    entries["versions"] = {"torch": ["1"], "": {}}
    entries["earlier"] = [None, {"a": [1]}]
    (tmp_path / "config.json").write_text(json.dumps(entries))
    with pytest.raises(
        ValueError, match=r'another model\.0\\n\\u001b\[31m: "x{199}\.\.\., now absent; .* and 498 more$'
    ):
        resumed(tmp_path, Stage())
    named = resumed(tmp_path, Stage(), fixed=())
    assert all("\n" not in each and len(each) < 400 for each in named)
    assert "parts.1: 1, now {" in "".join(named) and 'rate: {"a": 1}, now 0.5' in named
    RunConfig(tmp_path, Stage(), resume=True).write(1)
    assert written(tmp_path)["config"]["rate"] == 0.5 and written(tmp_path)["earlier"][0] is None


LOOP = LoopConfig(steps=2, precision="no", checkpoint_every=2, tracker="none")


def test_rates_and_averages_of_a_resume_are_those_of_its_config(tmp_path: Path) -> None:
    config = RunOf(str(tmp_path), LOOP)
    train(Rivals(), config)
    changed = Rivals(lr=0.01, ema_decay=None)
    train(changed, replace(config, loop=replace(LOOP, steps=3)), resume=True)
    [optimizer] = changed.trained["maker"].optimizers
    assert [group["peak_lr"] for group in optimizer.param_groups] == [0.01, 0.01]
    assert {value["step"].item() for value in optimizer.state.values()} == {3}
    again = Rivals(ema_decay=0.5)
    train(again, replace(config, loop=replace(LOOP, steps=4)), resume=True)
    average = again.trained["maker"].average
    assert average is not None and average.steps == 1
