"""What commands share: a config's arguments, and the extra that a command needs."""

from argparse import ArgumentError
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import register_type

ConfigT = TypeVar("ConfigT")
# Parses the command line, after a command has added its arguments; returns what was given for them.
Parse = Callable[[], Namespace]
# What `-o` of a command that writes one file may be too.
OR_FOLDER = "or a folder for one with the input's name; one that is to be made ends with a slash."


class WrongUse(ValueError):
    """Arguments that parse and still make no sense."""


def any_path(text: str | Path) -> Path:
    """A path on the command line; the parser's own way with `Path` fails at names that are not in UTF-8."""
    return Path(text)


def parse_config(parser: ArgumentParser, parse: Parse, kind: type[ConfigT]) -> tuple[ConfigT, Namespace]:
    """Adds a config's values as arguments, parses, and returns the config and all that was given.

    Raises:
        WrongUse: the values do not go together.
    """
    from evatok.data.sources import SourceConfig

    register_type(SourceConfig, asdict, _source, (ValueError, TypeError, ArgumentError), isinstance)
    parser.add_argument("--config", action="config", help="YAML file with any of the values below; may be repeated.")
    parser.add_class_arguments(kind, None)
    given = parse()
    try:
        return _instantiated(parser, given, kind), given
    except ValueError as error:
        raise WrongUse(str(error)) from error


def _source(entries: Any) -> Any:
    """A source of clips as it is written in YAML; its values are checked as a config's are."""
    from evatok.data.sources import source_kind

    kind = source_kind(entries)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, None)
    return _instantiated(parser, parser.parse_object(dict(entries)), kind)


def _instantiated(parser: ArgumentParser, given: Namespace, kind: type[ConfigT]) -> ConfigT:
    values = vars(parser.instantiate(given))
    return kind(**{field.name: values[field.name] for field in fields(kind)})  # type: ignore[arg-type]
