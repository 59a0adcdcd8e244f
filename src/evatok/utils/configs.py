"""Dataclasses as JSON holds them: configs, and records of results."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

ConfigT = TypeVar("ConfigT")


def check_least(config: Any, least: float, *names: str) -> None:
    """ValueError where one of these fields of a config is below `least`; None stands for no value."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value >= least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def check_between(config: Any, least: float, most: float, *names: str) -> None:
    """ValueError where one of these fields of a config is below `least` or above `most`; None stands for no value."""
    check_least(config, least, *names)
    for name in names:
        value = getattr(config, name)
        if value is not None and value > most:
            raise ValueError(f"{name} must be at most {most}, got {value!s:.80}")


def to_dict(config: Any) -> dict[str, Any]:
    """Entries of a config; those of a config within it, or in a list in it, begin with `type`, its class's name."""
    return {field.name: _entry(getattr(config, field.name)) for field in fields(config)}


def _entry(value: Any) -> Any:
    if is_dataclass(value):
        return {"type": type(value).__name__, **to_dict(value)}
    return [_entry(each) for each in value] if isinstance(value, list) else value


def from_dict(kind: type[ConfigT], entries: Mapping[str, Any]) -> ConfigT:
    """The config of entries that `to_dict` or `asdict` made, also after JSON; a missing entry takes its default.

    Tuples have entries of one kind, as the values of dictionaries have.
    Where a config within it may be of several classes, `type` decides; without it, as `asdict` leaves it, the first.
    A class whose fields once had other names says so in `OLD_NAMES`, `{old: new}`; entries may have either. Configs in
    lists stay entries.

    Raises:
        ValueError: an entry or a type is not known, something is no object or no value of the kind that is needed, or
            a config refuses its values.
        TypeError: an entry that has no default is missing.
    """
    config: ConfigT = _config([kind], entries)
    return config


def _config(kinds: Sequence[Any], value: Any) -> Any:
    names = [kind.__name__ for kind in kinds]
    if not isinstance(value, Mapping):
        raise ValueError(f"{' or '.join(names)} must be an object, got {value!r:.80}")
    entries = dict(value)
    name = entries.pop("type", names[0])
    if name not in names:
        raise ValueError(f"type must be {' or '.join(names)}, got {name!r:.80}")
    kind = kinds[names.index(name)]
    new_names = getattr(kind, "OLD_NAMES", {})
    entries = {new_names.get(key, key): entry for key, entry in entries.items()}
    known = {field.name: field.type for field in fields(kind)}
    if unknown := sorted(entries.keys() - known.keys()):
        raise ValueError(f"{name} does not know {', '.join(unknown)}; it has {', '.join(known)}")
    return kind(**{key: _value(known[key], entry, key) for key, entry in entries.items()})


def _value(expected: Any, value: Any, name: str) -> Any:
    options = get_args(expected) if get_origin(expected) in (Union, UnionType) else (expected,)
    kinds = [option for option in options if is_dataclass(option)]
    if kinds and value is not None:
        return _config(kinds, value)
    for option in options:
        if get_origin(option) is tuple and isinstance(value, list | tuple):
            if get_args(option)[-1] is not Ellipsis and len(value) != len(get_args(option)):
                raise ValueError(f"{len(get_args(option))} values are needed, got {list(value)}")
            return tuple(_value(get_args(option)[0], each, name) for each in value)
        if get_origin(option) is dict and isinstance(value, Mapping):
            return {key: _value(get_args(option)[1], each, name) for key, each in value.items()}
    if not any(_fits(option, value) for option in options):
        wanted = [choice for option in options for choice in _choices(option)]
        raise ValueError(f"{name} must be {' or '.join(wanted)}, got {value!r:.80}")
    return value


def _choices(option: Any) -> list[str]:
    """What a value of a kind may be, in words."""
    if get_origin(option) is Literal:
        return [repr(choice) for choice in get_args(option)]
    return [getattr(option, "__name__", str(option))]


def _fits(option: Any, value: Any) -> bool:
    """Whether a value out of JSON is of a kind; what is in lists and objects is not looked at."""
    if get_origin(option) is Literal:
        return value in get_args(option)
    kind = get_origin(option) or option
    if kind is Any:
        return True
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind
