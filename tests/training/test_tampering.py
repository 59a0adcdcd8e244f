"""A run's folder that was damaged or tampered with: a resume says what is wrong, and runs no code that lies there."""

import json
import math
import pickle
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evatok.training.checkpoints import checkpoints, seal
from evatok.training.loop import train
from tests.runs import differing_files
from tests.toy import Toy, ToyConfig, last, rewrite_json, rewrite_tensors, run


def refused(folder: Path, **values: Any) -> str:
    """The sentence that a resume ends with, which leaves all as it was."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ValueError) as error:
        run(folder, resume=True, **values)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    sentence = str(error.value)
    assert "\n" not in sentence and len(sentence.replace(str(folder), "")) < 400, sentence
    return sentence


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.marker,)


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


def cut(content: bytes, marker: Path) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes, marker: Path) -> bytes:
    return b""


def pickled(content: bytes, marker: Path) -> bytes:
    return pickle.dumps(Trap(marker))


def flipped(content: bytes, marker: Path) -> bytes:
    changed = bytearray(content)
    for place in random.Random(0).sample(range(len(content)), min(3, len(content))):
        changed[place] ^= 1 << place % 7
    return bytes(changed)


def deleted(content: bytes, marker: Path) -> None:
    return None


@pytest.mark.parametrize("tamper", [cut, emptied, pickled, flipped, deleted])
def test_every_file_that_was_tampered_with_is_named_or_does_not_matter(
    made: tuple[Path, Path], begun: Path, tamper: Callable[[bytes, Path], bytes | None]
) -> None:
    files = sorted(path.relative_to(begun) for path in begun.rglob("*") if path.is_file())
    marker, named = begun.parent / "marker", set()
    for file in files:
        shutil.rmtree(begun)
        shutil.copytree(made[1], begun)
        content = tamper((begun / file).read_bytes(), marker)
        (begun / file).unlink()
        if content is not None:
            (begun / file).write_bytes(content)
        if tamper is pickled and (begun / file).with_name("checkpoint.json").exists() and file.stem != "checkpoint":
            seal((begun / file).parent)  # so that it is read for what it is
        try:
            run(begun, resume=True)
        except ValueError as error:
            told = str(error)
            assert str((begun / file).parent) in told and file.name in told and "\n" not in told
            named.add(file)
        else:
            assert differing_files(made[0], begun) == [], file
    assert not marker.exists()
    needed = {path.relative_to(made[1]) for path in last(made[1]).iterdir() if path.is_file()}
    assert len(needed) == 8 and needed <= named <= needed | {Path("config.json")}
    if tamper is not flipped:  # which may change what a run does not depend on
        assert (Path("config.json") in named) is (tamper is not deleted)


OLD = ("custom_checkpoint_0.pkl", "optimizer.bin", "scheduler.bin", "scaler.pt", "random_states_0.pkl", "model.bin")


def test_what_lies_beside_the_files_of_a_checkpoint_is_not_read(made: tuple[Path, Path], begun: Path) -> None:
    for name in OLD:
        (last(begun) / name).write_bytes(pickle.dumps(Trap(begun.parent / "marker")))
    run(begun, resume=True)
    assert differing_files(made[0], begun) == [] and not (begun.parent / "marker").exists()


def test_pickles_of_an_earlier_evatok_are_not_read_but_told_of(begun: Path) -> None:
    for checkpoint in checkpoints(begun / "checkpoints"):
        for path in checkpoint.glob("*.*"):
            path.unlink()
        for name in OLD:
            (checkpoint / name).write_bytes(pickle.dumps(Trap(begun.parent / "marker")))
    told = refused(begun)
    assert f"{last(begun)} is of an earlier evatok, which kept pickles" in told
    assert told.endswith("there is no earlier checkpoint to go on from") and not (begun.parent / "marker").exists()


def test_the_newest_checkpoint_that_is_whole_is_named_and_the_run_goes_on_from_it(
    made: tuple[Path, Path], begun: Path
) -> None:
    run(begun, resume=True)
    first, *others = checkpoints(begun / "checkpoints")
    for checkpoint in others:
        (checkpoint / "task.safetensors").unlink()
    told = refused(begun)
    assert told.startswith(f"{others[1] / 'task.safetensors'} is missing; ")
    assert told.endswith(f"remove step_00000006, step_00000004 to go on from {first}")
    for checkpoint in others:
        shutil.rmtree(checkpoint)
    run(begun, resume=True)
    assert differing_files(made[0], begun) == []


Tensors = dict[str, Tensor]


@pytest.mark.parametrize(
    ("file", "changed", "words"),
    [
        ("maker.weights", lambda old: {"last.bias": torch.zeros(2)}, 'of another shape or type "last.bias"'),
        ("maker.weights", lambda old: {"last.bias": torch.zeros(1, dtype=torch.float64)}, 'shape or type "last.bias"'),
        ("judge.weights", lambda old: {"weight": None}, 'missing "weight"'),
        ("judge.weights", lambda old: {"x\n": torch.zeros(1)}, r'unknown "x\n"'),
        ("judge.weights", lambda old: {"weight": old["weight"] / 0}, 'not finite, or negative counts, in "weight"'),
        ("judge.weights", lambda old: {"bias": torch.full((1,), math.nan)}, "not finite"),
        ("maker.weights", lambda old: {f"{n}": torch.zeros(1) for n in range(500)}, 'unknown "0", "1", "10" and 497 m'),
        ("judge.optimizers", lambda old: {"weight.exp_avg_sq": None}, 'missing "weight.exp_avg_sq"'),
        ("judge.optimizers", lambda old: {"weight.exp_avg": torch.zeros(1)}, "of another shape"),
        ("judge.optimizers", lambda old: {"weight.momentum_buffer": torch.zeros(1, 1)}, "unknown"),
        ("maker.optimizers", lambda old: {"layers.0.weight.step": torch.tensor(1.0)}, "unknown"),
        ("maker.optimizers", lambda old: {"last.bias.step": torch.tensor(0.0)}, "last.bias.step 0 in a run of 4 steps"),
        ("maker.optimizers", lambda old: {"last.bias.step": torch.tensor(-3.0)}, "last.bias.step -3"),
        ("maker.optimizers", lambda old: {"last.bias.step": torch.tensor(1e30)}, "last.bias.step 1e+30"),
        ("maker.optimizers", lambda old: {"last.bias.step": torch.tensor(math.inf)}, "not finite"),
        ("maker.average", lambda old: {"n_averaged": torch.tensor(5)}, "of 5 steps in a run of 4"),
        ("maker.average", lambda old: {"n_averaged": torch.tensor(-1)}, "negative counts"),
        ("maker.average", lambda old: {"n_averaged": torch.tensor(0)}, "6 averages of 0 steps"),
        ("maker.average", lambda old: {"n_averaged": torch.tensor(3.0)}, 'of another shape or type "n_averaged"'),
        ("maker.average", lambda old: {name: None for name in old if name != "n_averaged"}, "0 averages of 3 steps"),
        ("maker.average", lambda old: {"module.last.bias": None}, 'missing "module.last.bias"'),
        ("task", lambda old: {"seen": torch.zeros(4, dtype=torch.int64)}, 'of another shape or type "seen"'),
        ("task", lambda old: {"seen": -old["seen"]}, 'negative counts, in "seen"'),
        ("task", lambda old: {"sum": None}, 'missing "sum"'),
    ],
)
def test_tensors_that_a_run_cannot_have_written_are_refused(
    begun: Path, file: str, changed: Callable[[Tensors], dict[str, Tensor | None]], words: str
) -> None:
    path = last(begun) / f"{file}.safetensors"
    rewrite_tensors(path, lambda old: {name: each for name, each in (old | changed(old)).items() if each is not None})
    told = refused(begun)
    assert told.startswith(str(path)) and words in told
    assert told.endswith(f"remove step_00000004 to go on from {begun / 'checkpoints' / 'step_00000002'}")


@pytest.mark.parametrize(
    "header", ['{"bias":{"dtype":"F32","shape":[9223372036854775808,0],"data_offsets":[0,0]}}', "[" * 10**5]
)
def test_a_header_that_no_tensor_can_have_is_refused(begun: Path, header: str) -> None:
    path = last(begun) / "judge.weights.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    seal(path.parent)
    assert refused(begun).startswith(str(path))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"steps": -1}, "must have steps from 0 on, got -1"),
        ({"steps": 10**9}, "has 1000000000 steps, 1 of them skipped, at step 4"),
        ({"steps": 3}, "has 3 steps"),
        ({"steps": True}, "got true"),
        ({"steps": "4"}, 'got "4"'),
        ({"clips": 1.5}, "must have clips from 0 on, got 1.5"),
        ({"clips": 10**4000}, "must have clips from 0 on, got 1000"),
        ({"seconds": math.nan}, "must have seconds from 0 on, got NaN"),
        ({"seconds": math.inf}, "got Infinity"),
        ({"seconds": None}, "got null"),
        ({"skipped": 5}, "has 4 steps, 5 of them skipped, at step 4"),
        ({"validations": {}}, "validations that are not what a run writes"),
        ({"validations": [{"steps": 4}]}, "validations that are not"),
        ({"validations": [{"steps": 4, "clips": 4, "seconds": 1, "scalars": {"l1": "low"}}]}, "validations that are"),
        ({"more": 1}, "must have the entries steps, clips, seconds, skipped, validations"),
    ],
)
def test_progress_that_a_run_cannot_have_made_is_refused(begun: Path, changed: dict[str, Any], words: str) -> None:
    path = last(begun) / "progress.json"
    rewrite_json(path, lambda entries: entries | changed)
    told = refused(begun)
    assert told.startswith(str(path)) and words in told and "remove step_00000004 to go on from" in told


NO_JSON = {
    "empty": "",
    "list": "[]",
    "number": "7",
    "deep": "[" * 10**5 + "]" * 10**5,
    "rather deep": '{"a":' * 40 + "1" + "}" * 40,
    "deep object": '{"format": 1, "files":' * 10**5,
    "many digits": '{"steps": ' + "9" * 10**4 + "}",
}


@pytest.mark.parametrize("name", ["progress.json", "checkpoint.json", "config.json"])
@pytest.mark.parametrize("text", NO_JSON.values(), ids=NO_JSON)
def test_json_that_is_none_or_another_is_refused(begun: Path, name: str, text: str) -> None:
    path = (begun if name == "config.json" else last(begun)) / name
    path.write_text(text)
    if name == "progress.json":
        seal(path.parent)
    told = refused(begun)
    assert told.startswith(f"{path} ") and "; remove " in told and " to go on " in told


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"format": 2}, "has format 2; this version of evatok reads 1"),
        ({"format": "x" * 999}, "xxx...; this version of evatok reads 1"),
        ({"files": []}, "does not list progress.json, but nothing"),
        (
            {"files": {"../../config.json": {}, "a\n": 1}},
            r'does not list progress.json, but "../../config.json", "a\n"',
        ),
        ({"files": {"progress.json": "x"}}, "does not list progress.json"),
        ({"files": {"progress.json": {"bytes": 10**30}}}, "bytes, not the 1000000000000000000000000000000 of checkp"),
    ],
)
def test_a_list_of_files_that_a_run_cannot_have_written_is_refused(
    begun: Path, changed: dict[str, Any], words: str
) -> None:
    path = last(begun) / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    told = refused(begun)
    assert told.startswith(str(path.parent)) and words in told


def test_a_run_at_its_end_is_written_again_and_one_beyond_it_is_refused(begun: Path) -> None:
    run(begun, 4, resume=True)
    assert json.loads((begun / "final" / "training.json").read_text())["steps"] == 4
    shutil.rmtree(begun / "final")
    told = refused(begun, steps=3)
    assert f"{last(begun) / 'progress.json'} is of step 4, beyond the 3 of loop.steps" in told
    far = last(begun).rename(begun / "checkpoints" / "step_1000000000")
    rewrite_json(far / "progress.json", lambda entries: entries | {"steps": 10**9})
    assert "is of step 1000000000, beyond the 6 of loop.steps" in refused(begun)
    assert not (begun / "final").exists()


def test_another_model_is_named_by_its_config_and_without_that_by_its_weights(begun: Path) -> None:
    assert refused(begun, width=8).endswith("by this config, which unlike its config.json has another width: 4, now 8")
    (begun / "config.json").unlink()
    told = refused(begun, width=8)
    assert told.startswith(f"{last(begun) / 'maker.weights.safetensors'} does not fit this run's config: of another")
    assert '"first.bias", "first.weight", "last.weight" and 2 more; there is no earlier' in told


def test_models_of_other_names_are_refused(begun: Path) -> None:
    class Other(Toy):
        def __init__(self, config: ToyConfig) -> None:
            super().__init__(config)
            self.trained = {"painter": self.trained["maker"]}

    config = ToyConfig(str(begun))
    with pytest.raises(ValueError, match=r"checkpoint\.json does not list painter\.weights\.safetensors, but "):
        train(Other(config), config, resume=True)


def test_of_many_differences_a_resume_shows_some(
    made: tuple[Path, Path], begun: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = {f"entry {number}": number for number in range(500)}
    rewrite_json(begun / "config.json", lambda entries: entries | {"config": entries["config"] | more})
    run(begun, resume=True)
    [warning] = [each.getMessage() for each in caplog.records if "other values" in each.getMessage()]
    assert len(warning.splitlines()) == 21 and warning.endswith("entry 18: 18, now absent and 481 more")
    assert differing_files(made[0], begun) == []
