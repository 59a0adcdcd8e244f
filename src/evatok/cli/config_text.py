"""Text of configs, read unless it is made to import things, or to take time and memory: deep, or growing by aliases."""

from typing import Any

from jsonargparse import get_loader, set_loader, set_parsing_settings

# Of a config: bytes of its file, values in it once aliases are written out, depth. Ours have 5,000, 100 and 4.
MOST_BYTES, MOST_VALUES, DEEPEST = 2**20, 10_000, 32
# Characters of a text that count as a value.
_TEXT = 100

_read_any_yaml = get_loader("yaml")


def guard_parsing() -> None:
    """Has jsonargparse read YAML by `read_yaml` (without PyYAML it reads JSON) and import nothing but our own."""
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=["evatok"])
    try:
        import yaml
    except ModuleNotFoundError:
        return
    set_loader("yaml", read_yaml, (yaml.YAMLError,))


def read_yaml(text: str) -> Any:
    """What a YAML text holds, as jsonargparse reads it; YAMLError for what is deeper or larger than configs are."""
    import yaml

    sizes: dict[str, int] = {}  # of what has an anchor, once it is complete
    begun: list[tuple[str | None, int]] = []  # anchors of what is not, and what was counted before
    count = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            begun.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.ScalarEvent):
            begun.append((event.anchor, count))
            count += 1 + len(event.value) // _TEXT
        elif isinstance(event, yaml.AliasEvent):
            within_itself = any(anchor == event.anchor for anchor, _ in begun)
            count += MOST_VALUES if within_itself else sizes.get(event.anchor, 0)
        if len(begun) > DEEPEST or count > MOST_VALUES:
            raise yaml.YAMLError(f"it has more than {DEEPEST} levels or {MOST_VALUES} values, aliases written out")
        if isinstance(event, yaml.CollectionEndEvent | yaml.ScalarEvent):
            anchor, before = begun.pop()
            if anchor:
                sizes[anchor] = count - before
    return _written_out(_read_any_yaml(text))


def check_config(text: str, mode: str, own_key: str) -> None:
    """Looks at the text of a config before it is applied.

    Args:
        text: of its file.
        mode: what it is written in, as jsonargparse calls it.
        own_key: of the option that names configs: in one it would have any other file read, and shown.

    Raises:
        ValueError: it cannot be read, holds something else than keys and values, or has that key.
    """
    try:
        entries = get_loader(mode)(text)
    except Exception as error:  # whatever the loader of that mode raises
        raise ValueError(f"it cannot be read: {error}") from error
    if not isinstance(entries, dict):
        raise ValueError("it has no keys with values")
    if own_key in entries:
        raise ValueError(f"'{own_key}' is no key of a config")


def _written_out(value: Any) -> Any:
    """The same with a copy for each alias: the parser puts values into each other, and could close a circle."""
    if isinstance(value, dict):
        return {key: _written_out(each) for key, each in value.items()}
    return [_written_out(each) for each in value] if isinstance(value, list) else value
