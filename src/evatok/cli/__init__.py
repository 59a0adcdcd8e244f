"""The command line: `main` and the table of the commands, which stand in files by group.

A command adds its arguments to a parser, has it parse the words after its name and does its work. It is called, and
imports what it needs, only when a command line names it: `evatok --help` is quick.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from inspect import getdoc
from typing import NamedTuple

from jsonargparse import ArgumentParser

from evatok import __version__
from evatok.cli import codec, data, generation, reports, training
from evatok.cli.errors import FAILED, INTERRUPTED, STOPPED, WRONG_USE, told
from evatok.cli.process import by_signal, complain, flushed, raised_signals, ready_streams

__all__ = ["COMMANDS", "FAILED", "GROUPS", "INTERRUPTED", "STOPPED", "WRONG_USE", "Command", "main"]


class Command(NamedTuple):
    """What a command does, by its docstring too, and the package's extra that it needs ("": none)."""

    run: Callable[[ArgumentParser, Sequence[str]], None]
    extra: str = ""


GROUPS = {
    "train": "Train a proxy tokenizer (stage 1), a router (stage 3), a final tokenizer (stage 4) or a generator.",
    "evaluate": "Measure tokenizers and generators, and put results side by side.",
    "data": "Check, pack and fetch training data.",
}
COMMANDS = {
    "demo": Command(codec.demo, "figures"),
    "app": Command(codec.app, "app"),
    "encode": Command(codec.encode),
    "decode": Command(codec.decode),
    "reconstruct": Command(codec.reconstruct),
    "generate": Command(generation.generate, "generator"),
    "tokenize": Command(codec.tokenize, "search"),
    "train proxy": Command(training.proxy, "train"),
    "search": Command(training.search, "search"),
    "train router": Command(training.router, "train"),
    "train final": Command(training.final, "train"),
    "train generator": Command(training.generator, "train,generator"),
    "evaluate reconstruction": Command(reports.reconstruction, "search"),
    "evaluate generation": Command(reports.generation, "search,generator"),
    "evaluate prediction": Command(reports.prediction, "search,generator"),
    "evaluate results": Command(reports.results, "search"),
    "curve": Command(reports.curve, "search"),
    "router-report": Command(reports.router_report, "search"),
    "card": Command(reports.card, "search"),
    "report": Command(reports.report, "search"),
    "selfcheck": Command(training.selfcheck, "train"),
    "weights": Command(codec.weights),
    "data scan": Command(data.scan, "data"),
    "data shards": Command(data.shards, "data"),
    "data big-buck-bunny": Command(data.big_buck_bunny),
    "data photographs": Command(data.photographs, "data"),
    "data footage": Command(data.footage),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line (the process's own if None) and returns its exit code; errors are one sentence on stderr."""
    ready_streams()
    words = _spelled(sys.argv[1:] if argv is None else argv)
    name = next((name for name in COMMANDS if words[: len(name.split())] == name.split()), "")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("evatok").setLevel(logging.INFO)
    with raised_signals() as came:
        try:
            parser, given = _parser(name), words[len(name.split()) :]
            if name:
                COMMANDS[name].run(parser, given)
            else:
                parser.parse_args(given)  # ends with help, or an error
            code = 0
        except BaseException as error:
            extra = COMMANDS[name].extra if name else ""
            sentence, code = by_signal(came[0]) if came else told(error, name, extra)
            if sentence:
                complain(sentence)
    return flushed(code)


def _spelled(words: Sequence[str]) -> list[str]:
    """A command line as the parser knows it: options with _, and a printed config with comments; files after --."""
    end = words.index("--") if "--" in words else len(words)
    return [*map(_option, words[:end]), *words[end:]]


def _option(word: str) -> str:
    option, equals, value = word.partition("=")
    if not option.startswith("--"):
        return word
    option = f"--{option[2:].replace('-', '_')}"
    return "--print_config=comments" if word == "--print_config" else f"{option}{equals}{value}"


def _parser(name: str) -> ArgumentParser:
    """The parser of a command, as yet without its arguments; of "", that of all groups and commands, without theirs."""
    # A command's stands alone: as a subcommand of a subcommand it loses the name of an unknown key in a config file.
    if name:
        return ArgumentParser(prog=f"evatok {name}", description=getdoc(COMMANDS[name].run), exit_on_error=False)
    whole = ArgumentParser(
        prog="evatok",
        description="EVATok: an adaptive-length video tokenizer.",
        version=__version__,
        exit_on_error=False,
    )
    below = {"": whole.add_subcommands(dest="command", metavar="COMMAND")}

    def add(name: str, about: str) -> ArgumentParser:
        group, _, own = name.rpartition(" ")
        parser = ArgumentParser(description=about)
        below[group].add_subcommand(own, parser, help=about)
        parser.prog = f"evatok {name}"
        return parser

    for name, command in COMMANDS.items():
        group = name.rpartition(" ")[0]
        if group not in below:
            below[group] = add(group, GROUPS[group]).add_subcommands(dest="command", metavar="COMMAND")
        add(name, getdoc(command.run) or "")
    return whole
