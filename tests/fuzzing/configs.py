"""Configs of every command that takes one, damaged; the command line reads them up to where its work would begin."""

import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from evatok.cli import main
from tests.fuzzing import damage
from tests.fuzzing.damage import Rng

TINY = Path(__file__).parents[2] / "configs" / "tiny"
# Each config's command, and the function that does its work.
COMMANDS = {
    "proxy": ("train proxy", "evatok.stages.proxy.train_proxy"),
    "router": ("train router", "evatok.stages.router.train_router"),
    "final": ("train final", "evatok.stages.final.train_final"),
    "search": ("search", "evatok.stages.search.run.search"),
    "evaluation": ("evaluate reconstruction", "evatok.reports.evaluate.evaluate"),
    "curve": ("curve", "evatok.reports.curve.curve"),
}
_NUMBERS = ("-1", "0", "1e400", "1e-400", ".nan", "-.inf", "9" * 400, "0x7fffffffffffffff", "1_000_000_000_000", "1:30")
_TAGGED = (
    *(
        "!!python/object/apply:os.getcwd []",
        "!!binary aGk=",
        "!!set {a, b}",
        "!unknown x",
        "2020-01-01",
        "*a",
        "&a [*a]",
    ),
    *("<<: {a: 1}", "[" * 40, "{" * 2000, "? a", "|", ">-", "%", "@", "`"),
)


class Made(Exception):
    """The config is made, and the work would begin."""


class Refused(ValueError):
    """The command line's own sentence."""


def prepare(folder: Path) -> None:
    """The tiny configs, as the documents that they hold."""
    for name in COMMANDS:
        (folder / f"{name}.yaml").write_text((TINY / f"{name}.yaml").read_text())


def place(folder: Path, target: Path, kind: str, rng: Rng) -> None:
    """One of the configs, damaged."""
    name = damage.pick(list(COMMANDS), rng)
    (target / f"{name}.yaml").write_bytes(KINDS[kind]((folder / f"{name}.yaml").read_bytes(), rng))


def use(folder: Path, target: Path) -> set[str]:
    """Has the command line read a config."""
    path = next(target.iterdir())
    command, work = COMMANDS[path.stem]
    told = StringIO()
    with patch(work, side_effect=Made), redirect_stderr(told), redirect_stdout(StringIO()):
        try:
            code = main([*command.split(), "--config", str(path)])
        except Made:
            return set()
    if "not enough memory" in told.getvalue():
        raise MemoryError
    assert code in (1, 2) and told.getvalue().startswith("evatok: "), f"exit code {code}: {told.getvalue()}"
    raise Refused(told.getvalue().removesuffix("\n"))


@cache
def _document(text: bytes) -> Any:
    return yaml.safe_load(text)


def _documents(change: damage.Change) -> damage.Damage:
    return lambda data, rng: damage.yaml_text(change(_document(data), rng))


def _lines(change: Callable[[list[str], int, Rng], None]) -> damage.Damage:
    def change_lines(data: bytes, rng: Rng) -> bytes:
        lines = [line for line in data.decode().splitlines() if line and not line.startswith("#")]
        for _ in range(int(rng.integers(1, 4))):
            change(lines, int(rng.integers(len(lines))), rng)
        return "\n".join(lines).encode()

    return change_lines


def _twice(lines: list[str], at: int, rng: Rng) -> None:
    lines.insert(int(rng.integers(len(lines))), lines[at])


def _indented(lines: list[str], at: int, rng: Rng) -> None:
    lines[at] = damage.pick(["  " + lines[at], lines[at].lstrip(), "\t" + lines[at], lines[at] + ":"], rng)


def _number(lines: list[str], at: int, rng: Rng) -> None:
    lines[at] = re.sub(r"\d[\d.e_]*", lambda found: damage.pick([found[0], *_NUMBERS], rng), lines[at])


def _tagged(lines: list[str], at: int, rng: Rng) -> None:
    lines[at] = f"{lines[at].partition(':')[0]}: {damage.pick(_TAGGED, rng)}"


def _bomb(data: bytes, rng: Rng) -> bytes:
    """Aliases of aliases, which a few bytes let grow beyond any memory."""
    wide, deep = int(rng.integers(2, 12)), int(rng.integers(2, 30))
    first = damage.pick(["[x, y]", "{folder: a}", "0", '"' + "z" * 1000 + '"'], rng)
    lines = [f"a0: &a0 {first}"] if rng.random() < 0.5 else [f"data: &a0 {first}"]
    for number in range(1, deep):
        many = ", ".join([f"*a{number - 1}"] * wide)
        lines.append(f"{damage.pick(['a' + str(number), 'sources', 'folder', 'model'], rng)}: &a{number} [{many}]")
    if rng.random() < 0.5:
        lines.append(f"loop: *a{deep - 1}")
    return data + b"\n" + "\n".join(lines).encode()


KINDS: dict[str, damage.Damage] = {
    "unchanged": damage.unchanged,
    "bytes": damage.damaged,
    **{name: _documents(change) for name, change in damage.CHANGES.items()},
    "line twice": _lines(_twice),
    "line indented": _lines(_indented),
    "numbers": _lines(_number),
    "YAML of other kinds": _lines(_tagged),
    "aliases of aliases": _bomb,
}
