"""What commands share: a config's arguments, and the extra that a command needs."""

import os
from argparse import ArgumentError, ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from jsonargparse.typing import register_type

from evatok.cli.config_text import MOST_BYTES, check_config, guard_parsing
from evatok.utils.texts import shortened

ConfigT = TypeVar("ConfigT")
# How lines begin that jsonargparse puts around what it says of each type that a value could have had, None among them.
_AROUND = (
    *("Does not validate against any", "Subtypes: ", "Errors:", "Given value type: ", "Given value: Namespace("),
    f"- Expected a {NoneType}",
)
# Types that it writes as Python does: `<class 'int'>`.
_PLAIN: tuple[type, ...] = (bool, int, float, str, list, tuple, dict)
# What `-o` of a command that writes one file may be too.
OR_FOLDER = "or a folder for one with the input's name; one that is to be made ends with a slash."


class WrongUse(ValueError):
    """Arguments that parse and still make no sense."""


@dataclass(frozen=True)
class Word:
    """Turns a word of the command line into a value. Help calls it by its name, a function by its address."""

    name: str
    value: Callable[[Any], Any]

    def __call__(self, text: Any) -> Any:
        return self.value(text)

    def __repr__(self) -> str:
        return self.name


def _typed_numbers(text: str | tuple[int, ...]) -> tuple[int, ...]:
    # The parser hands what came of it in again.
    if isinstance(text, tuple):
        return text
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"must be whole numbers with commas between, such as 32,8,8,16, not {text!r}") from None


# A path; the parser's own way with `Path` fails at names that are not in UTF-8.
any_path = Word("path", Path)
# An assignment as it is typed: `32,8,8,16`.
numbers = Word("numbers", _typed_numbers)


def in_a_sentence(error: Exception) -> str:
    """What a parser complains about, on one line: of a value that may be of several types, what is wrong for each."""
    lines = (line.strip() for line in str(error).splitlines())
    said = " ".join(line for line in lines if not line.startswith(_AROUND)).replace(": - ", ": ").removeprefix("- ")
    for kind in _PLAIN:
        said = said.replace(str(kind), kind.__name__)
    return shortened(said)


class ConfigFile(ActionConfigFile):
    """Reads a config's file, unless it is none or far too large; what is wrong in it is said with its name."""

    @staticmethod
    def apply_config(parser: ArgumentParser, cfg: Namespace, dest: str, value: str) -> None:
        """As jsonargparse has it; WrongUse where it raises anything."""
        try:
            if os.path.isfile(value):
                if os.path.getsize(value) > MOST_BYTES:
                    raise WrongUse(f"it has {os.path.getsize(value)} bytes; a config may have {MOST_BYTES}")
                check_config(Path(value).read_text(encoding="utf-8"), parser.parser_mode, dest)
            ActionConfigFile.apply_config(parser, cfg, dest, value)
        except (ArgumentError, TypeError, ValueError, OverflowError) as error:
            raise WrongUse(f"config {shortened(value, 200)}: {error}") from error


def parse_config(parser: ArgumentParser, words: Sequence[str], kind: type[ConfigT]) -> tuple[ConfigT, Namespace]:
    """Adds a config's values as arguments, parses words, and returns the config and all that was given.

    Raises:
        WrongUse: the values do not go together.
    """
    from evatok.data.sources import SourceConfig

    guard_parsing()
    register_type(SourceConfig, asdict, _source, (ValueError, TypeError, ArgumentError), isinstance)
    parser.add_argument("--config", action=ConfigFile, help="YAML file with any of the values below; may be repeated.")
    parser.add_class_arguments(kind, None)
    given = parser.parse_args(words)
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
    _check_values(given, kind)
    values = vars(parser.instantiate(given))
    return kind(**{field.name: values[field.name] for field in fields(kind)})  # type: ignore[arg-type]


def _check_values(given: Namespace, kind: type[Any], section: str = "") -> None:
    """ValueError for what the parser lets pass: no section where one belongs, YAML's null, numbers without end."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        key, value, expected = section + field.name, given.get(field.name), hints[field.name]
        if is_dataclass(expected) and isinstance(value, Namespace):
            _check_values(value, hints[field.name], f"{key}.")
        elif is_dataclass(expected) and not isinstance(value, hints[field.name]):
            known = ", ".join(each.name for each in fields(expected))
            raise ValueError(f"{key} must be a section with any of {known}; got {_as_yaml(value)}")
        elif value is None and NoneType not in get_args(expected):
            raise ValueError(f"{key} must have a value; got null")
        elif wrong := [number for number in _numbers(value) if not abs(number) < 2**63]:
            raise ValueError(f"{key} must be finite and below 2^63; got {wrong[0]!s:.80}")


def _as_yaml(value: Any) -> str:
    return "null" if value is None else f"{value!r:.80}"


def _numbers(value: Any) -> Iterator[float]:
    """All numbers within what a config has as a value."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, Mapping | Namespace):
        yield from _numbers(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(each)
