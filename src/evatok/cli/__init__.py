"""The command line: `main`, its exit codes and the table of the commands, which stand in files by group.

A command adds its arguments to a parser, has them parsed and does its work. It is called, and imports what it needs,
only when a command line names it: `evatok --help` is quick.
"""

import logging
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from inspect import getdoc
from typing import NamedTuple

from jsonargparse import ArgumentParser, Namespace

from evatok import __version__
from evatok.cli import codec, data, reports, training
from evatok.cli.arguments import Parse, WrongUse, in_a_sentence
from evatok.training.stopping import Stopped
from evatok.utils.packages import PackageError
from evatok.utils.texts import shortened

# 75 is what sysexits.h calls a temporary failure: a scheduler may start the same command again.
FAILED, WRONG_USE, STOPPED, INTERRUPTED = 1, 2, 75, 130


class Command(NamedTuple):
    """What a command does, by its docstring too, and the package's extra that it needs ("": none)."""

    run: Callable[[ArgumentParser, Parse], None]
    extra: str = ""


GROUPS = {
    "train": "Train a proxy tokenizer (stage 1) or a router (stage 3).",
    "data": "Check, pack and fetch training data.",
}
COMMANDS = {
    "demo": Command(codec.demo, "figures"),
    "encode": Command(codec.encode),
    "decode": Command(codec.decode),
    "reconstruct": Command(codec.reconstruct),
    "train proxy": Command(training.proxy, "train"),
    "search": Command(training.search, "search"),
    "train router": Command(training.router, "train"),
    "evaluate": Command(reports.evaluate, "search"),
    "curve": Command(reports.curve, "search"),
    "router-report": Command(reports.router_report, "search"),
    "card": Command(reports.card, "search"),
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
    words = [_spelled(word) for word in (sys.argv[1:] if argv is None else argv)]
    name = next((name for name in COMMANDS if words[: len(name.split())] == name.split()), "")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("evatok").setLevel(logging.INFO)
    parser = _parser(name)

    def parse() -> Namespace:
        return parser.parse_args(words[len(name.split()) :])

    try:
        if name:
            COMMANDS[name].run(parser, parse)
        else:  # --help or an error
            parse()
    except SystemExit as done:  # --help, --version and --print_config
        return int(done.code or 0)
    except (ArgumentError, WrongUse) as error:
        return _complain(f"{in_a_sentence(error)} (see {parser.prog} --help)", WRONG_USE)
    except ModuleNotFoundError as error:
        if not name or not COMMANDS[name].extra:
            raise
        return _complain(f"{name} needs {error.name}: pip install 'evatok[{COMMANDS[name].extra}]'", FAILED)
    except Stopped as error:
        return _complain(f"{error}; the same command with --resume goes on", STOPPED)
    except (ValueError, OSError, PackageError, FloatingPointError) as error:
        return _complain(str(error), FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    return 0


def _spelled(word: str) -> str:
    """A word of a command line as the parser knows it: options with _, and a printed config with comments."""
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


def _complain(sentence: str, code: int) -> int:
    print(f"evatok: {shortened(sentence, 1000)}", file=sys.stderr)
    return code
