"""Every command line of the README, the pages and the configs' comments is parsed; those that take seconds are run."""

import re
import shutil
import tomllib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest

from evatok.cli import COMMANDS, GROUPS, main
from tests.docs.pages import CONFIGS, PAGES, ROOT, Command, commands_of, commands_of_config, mentions_of
from tests.docs.parsing import command_of, parsed

IN_PAGES = [command for page in PAGES for command in commands_of(page)]
LINES = [*IN_PAGES, *(command for path in CONFIGS for command in commands_of_config(path))]

# What is run as it stands, but for what makes it small. The others take minutes; the tests of their stages run them on
# mini models.
SMALL = {
    "encode": "",
    "decode": "",
    "reconstruct": "",
    "generate": "-n 1",
    "data scan": "--processes 1",
    "tokenize": "",
    "evaluate reconstruction": "--clips 1 --assignments [[8,8,8,8]] --x264 false",
    "train proxy": "--loop.steps 2 --loop.workers 0 --loop.tracker none --data.group 1 --codebook.groups 16 "
    "--data.validation_clips 1",
}
# Of these one line each is run, whose data are what the workplace has.
SLOWER = {"tokenize", "evaluate reconstruction", "train proxy"}


def distinct(commands: Iterable[Command]) -> list[Command]:
    """Those that no earlier one equals."""
    return list({command.words: command for command in reversed(list(commands))}.values())[::-1]


def runs(command: Command) -> bool:
    """Whether it is run here: in a page, of a kind that is quick, on what the workplace has."""
    words = command.evatok
    if words is None or command.words[0] != "evatok" or command_of(words) not in SMALL:
        return False
    return command_of(words) not in SLOWER or any("[{folder: my/" in word and "index" not in word for word in words)


def to_run() -> list[Command]:
    """Those that are run: of the slower kinds the first one."""
    quick, slower = [], dict[str, Command]()
    for command in distinct(filter(runs, IN_PAGES)):
        name = command_of(command.evatok or [])
        if name in SLOWER:
            slower.setdefault(name, command)
        else:
            quick.append(command)
    return [*quick, *slower.values()]


@pytest.mark.parametrize("command", [each for each in LINES if each.evatok is not None], ids=str)
def test_commands_are_parsed(command: Command, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = command.evatok
    assert words is not None
    monkeypatch.chdir(prepared)
    asks_for_help = {"--help", "--print_config"} & {*words}
    assert (parsed(["my.yaml" if word == "..." else word for word in words]) is None) == bool(asks_for_help)


@pytest.mark.parametrize("command", to_run(), ids=str)
def test_quick_commands_run(command: Command, workplace: Path) -> None:
    words = command.evatok
    assert words is not None
    if words[0] in ("train", "tokenize"):  # what its line is to make is there already, for other lines
        for made in ("runs/mine", "my/tokens"):
            shutil.rmtree(workplace / made)
    assert main([*words, *SMALL[command_of(words)].split()]) == 0


def test_there_are_quick_commands_of_each_kind() -> None:
    assert {command_of(each.evatok or []) for each in to_run()} == set(SMALL)


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
