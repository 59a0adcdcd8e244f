"""Every command line of the README, the pages, and the comments of configs and scripts is parsed and run.

Those that take seconds are run by every run of the tests. All others are run by `pytest -n0 -m documented tests/docs`,
one after the other in one folder, `runs/documented`; docs/results/documented-commands.json has what came of each.
"""

import json
import re
import shlex
import shutil
import time
import tomllib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from evatok.cli import COMMANDS, GROUPS, main
from evatok.training.versions import commit
from evatok.utils.files import write_json
from tests.docs.pages import (
    CONFIGS,
    PAGES,
    ROOT,
    SCRIPTS,
    Command,
    commands_in_text,
    commands_of,
    commands_of_config,
    commands_of_script,
    mentions_of,
)
from tests.docs.parsing import parsed
from tests.docs.running import NOT_RUN, SMALL, in_order, kind_of, line_of, run, why_not

IN_PAGES = [command for page in PAGES for command in commands_of(page)]
LINES = [*IN_PAGES, *(command for path in CONFIGS for command in commands_of_config(path))]
DOCUMENTED = [
    *LINES,
    *(command for page in PAGES for command in commands_in_text(page)),
    *(command for path in SCRIPTS for command in commands_of_script(path)),
]
RECORD = ROOT / "docs" / "results" / "documented-commands.json"

# Of these kinds all lines are run by every run of the tests.
QUICK = {"encode", "decode", "reconstruct", "generate", "data scan"}
# And of these one each, whose data are what the workplace has.
SLOWER = {"tokenize", "evaluate reconstruction", "train proxy"}


def distinct(commands: Iterable[Command]) -> list[Command]:
    """Those that no earlier one equals."""
    return list({command.words: command for command in reversed(list(commands))}.values())[::-1]


def quick() -> list[Command]:
    """Those of a page that are run by every run of the tests, on what the workplace has."""
    lines = [command for command in distinct(IN_PAGES) if command.words[0] == "evatok"]
    slower = dict[str, Command]()
    for command in lines:
        if any("[{folder: my/" in word and "index" not in word for word in command.words):
            slower.setdefault(kind_of(command), command)
    return [
        *(command for command in lines if kind_of(command) in QUICK),
        *(command for kind, command in slower.items() if kind in SLOWER),
    ]


def others() -> list[Command]:
    """All others that are run, in the order in which they build on each other."""
    at_once = {command.words for command in quick()}
    one_line = ("python", "-c")  # test_python_lines_run
    return in_order(
        [
            each
            for each in distinct(DOCUMENTED)
            if each.words not in at_once and each.words[:2] != one_line and why_not(each) is None
        ]
    )


@pytest.mark.parametrize("command", [each for each in LINES if each.evatok is not None], ids=str)
def test_commands_are_parsed(command: Command, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = command.evatok
    assert words is not None
    monkeypatch.chdir(prepared)
    asks_for_help = {"--help", "--print_config"} & {*words}
    assert (parsed(["my.yaml" if word == "..." else word for word in words]) is None) == bool(asks_for_help)


@pytest.mark.parametrize("command", quick(), ids=str)
def test_quick_commands_run(command: Command, workplace: Path) -> None:
    words = command.evatok
    assert words is not None
    if words[0] in ("train", "tokenize"):  # what its line is to make is there already, for other lines
        for made in ("runs/mine", "my/tokens"):
            shutil.rmtree(workplace / made)
    assert main([*words, *SMALL[kind_of(command)].split()]) == 0


def test_there_are_quick_commands_of_each_kind() -> None:
    assert {kind_of(each) for each in quick()} == QUICK | SLOWER


def recorded() -> dict[str, dict[str, Any]]:
    """What came of each command, by its line, as the record has it."""
    return {row["command"]: row for row in json.loads(RECORD.read_text())["commands"]} if RECORD.exists() else {}


def record(row: dict[str, Any]) -> None:
    """Adds what came of a command; what is documented no more goes."""
    rows = recorded() | {row["command"]: row}
    ran = [rows[each.line] for each in others() if each.line in rows]
    left_out = [{"command": each.line, "not run": why_not(each)} for each in distinct(DOCUMENTED) if why_not(each)]
    write_json(RECORD, {"commands": [*ran, *left_out]})


@pytest.mark.documented
@pytest.mark.timeout(0)  # some take long
@pytest.mark.parametrize("command", others(), ids=str)
def test_all_other_commands_run(command: Command, chained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(chained)
    line, start = line_of(command), time.monotonic()
    code = run(line)
    seconds = round(time.monotonic() - start, 1)
    came = {"run": shlex.join(line), "exit": code, "seconds": seconds, "commit": commit()}
    record({"command": command.line, **came})
    assert code == 0


def test_the_record_has_every_other_command() -> None:
    """`pytest -n0 -m documented tests/docs` makes it; of a page's commands alone, `-k PAGE`."""
    rows = recorded()
    assert {line for line, row in rows.items() if row.get("exit") == 0} == {each.line for each in others()}
    left_out = {each.line: why_not(each) for each in distinct(DOCUMENTED) if why_not(each)}
    assert {line: row["not run"] for line, row in rows.items() if "not run" in row} == left_out


def test_every_reason_not_to_run_a_command_has_one() -> None:
    assert {why_not(each) for each in DOCUMENTED} - {None} == {*NOT_RUN.values()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_are_ones(page: Path) -> None:
    known = {*COMMANDS, *GROUPS}
    for mention in mentions_of(page):
        words = mention.split()[1:]
        assert words[0].startswith("-") or words[0] in known or " ".join(words[:2]) in known, mention


@pytest.mark.parametrize("command", [each for each in LINES if each.evatok is None], ids=str)
def test_other_programs_find_what_they_are_given(command: Command) -> None:
    program, *words = command.words
    if program == "make":
        target = next(word for word in words if not word.startswith("-"))
        rules = (path.read_text() for path in (ROOT / "Makefile", ROOT / "benchmarks" / "miniature.mk"))
        assert any(re.search(rf"^{target}:", each, re.MULTILINE) for each in rules)
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = re.search(r"\[(.*)\]", words[-1])
        assert words[0] == "install" and (named is None or {*named[1].split(",")} <= {*extras})
    elif program == "python" and words[0] == "-m":
        assert find_spec(words[1])


@pytest.mark.parametrize("command", [each for each in LINES if each.words[0] == "accelerate"], ids=str)
def test_configs_of_launchers_are_there(command: Command) -> None:
    assert (ROOT / command.words[command.words.index("--config_file") + 1]).exists()


def test_python_lines_run(workplace: Path) -> None:
    lines = [command.words[2] for command in IN_PAGES if command.words[:2] == ("python", "-c")]
    assert lines
    for line in lines:
        exec(re.sub(r"\s+", " ", line), {})


def test_wrong_lines_are_found(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    for line in (
        "encode in.mp4",
        "train proxy --config configs/tiny/proxy.yaml --loop.stepz 3",
        "train proxy --config configs/tiny/proxy.yaml --loop.steps 0",
        "search --config configs/tiny/nowhere.yaml",
        "nonsense",
    ):
        with pytest.raises(Exception, match=r"required|stepz|steps|nowhere|nonsense"):
            parsed(line.split())
