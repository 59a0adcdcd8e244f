"""Damaged inputs of many kinds are read, or refused in a sentence; `benchmarks/fuzz.py` is the long form."""

from pathlib import Path

import pytest

from evatok.data.prepare.scanning import ScanConfig
from tests.fuzzing.answers import FAMILIES, Answer, Input, answers, inputs

SEED, COUNT = 0, 20
CONFIG = ScanConfig(1, seconds=20.0)
MOST_MEMORY = 200 * 10**6


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[Input]:
    folder = tmp_path_factory.mktemp("inputs")
    return [each for family in FAMILIES for each in inputs(family, folder / family, SEED, COUNT)]


@pytest.fixture(scope="module")
def found(given: list[Input]) -> list[Answer]:
    return answers(given, CONFIG)


def test_every_input_is_read_or_refused_in_a_sentence(given: list[Input], found: list[Answer]) -> None:
    for each, answer in zip(given, found, strict=True):
        assert answer.kind in ("read", "refused"), (each, each.kind, answer)
        assert answer.kind == "read" or each.kind != "unchanged", (each, answer)
        assert answer.left == (), (each, each.kind, answer)
        assert answer.memory < MOST_MEMORY, (each, each.kind, answer)
    assert {path.name for each in given for path in each.target.parent.iterdir()} == {"originals"}


@pytest.mark.parametrize("family", FAMILIES)
def test_of_every_family_some_are_read_and_some_refused(family: str, given: list[Input], found: list[Answer]) -> None:
    kinds = [answer.kind for each, answer in zip(given, found, strict=True) if each.family == family]
    assert len(kinds) == COUNT and kinds.count("read") > 0 and kinds.count("refused") >= COUNT // 4


@pytest.mark.parametrize("family", FAMILIES)
def test_an_input_is_a_function_of_seed_and_number(family: str, given: list[Input], tmp_path: Path) -> None:
    mine = [each for each in given if each.family == family][:12]
    contents = []
    for name, seed in (("first", SEED), ("again", SEED), ("other", SEED + 1)):
        (tmp_path / name).mkdir()
        for each in mine:
            Input(family, each.folder, seed, each.number).place(tmp_path / name / str(each.number))
        found = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in found])
    assert contents[0] == contents[1] != contents[2]
