"""What a command line says, to the real parser and to its config's own checks, without the work that it asks for."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from jsonargparse import ArgumentParser

from evatok import cli
from evatok.cli import COMMANDS, arguments


class Parsed(Exception):
    """Ends a command when its line has been parsed."""


def command_of(words: Sequence[str]) -> str:
    """The name of the command that words begin with; ValueError where there is none."""
    for name in COMMANDS:
        if list(words[: len(name.split())]) == name.split():
            return name
    raise ValueError(f"no command: evatok {' '.join(words)}")


def parsed(words: Sequence[str]) -> Any:
    """The config that a command line asks for, what was given where its command has none, None where it asks for help.

    Raises:
        ValueError, ArgumentError: as the command would; it is not run.
    """
    name = command_of(words)
    parser, rest = cli._parser(name), cli._spelled(words[len(name.split()) :])

    parse_args = parser.parse_args

    def end(words: Sequence[str]) -> Any:
        raise Parsed(parse_args(words))

    def end_with_config(parser: ArgumentParser, words: Sequence[str], kind: type[Any]) -> Any:
        with patch.object(parser, "parse_args", parse_args):
            raise Parsed(arguments.parse_config(parser, words, kind)[0])

    with ExitStack() as patches:
        patches.enter_context(patch.object(parser, "parse_args", end))
        for module in vars(cli).values():
            if getattr(module, "parse_config", None) is arguments.parse_config and module is not arguments:
                patches.enter_context(patch.object(module, "parse_config", end_with_config))
        try:
            COMMANDS[name].run(parser, rest)
        except Parsed as what:
            return what.args[0]
        except SystemExit as end_of_help:
            assert end_of_help.code == 0
            return None
    raise AssertionError(f"{name} did not parse its line")
