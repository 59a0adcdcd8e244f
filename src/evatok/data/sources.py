"""Sources of clips by their configs: a folder, a file, shards, rendered episodes, scenes over pictures and videos."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from evatok.data.clip_source import ClipSource, SourceConfig
from evatok.data.folders import FileConfig, FileSource, FolderConfig, FolderSource
from evatok.data.scenes.source import ScenesConfig, ScenesSource
from evatok.data.shards import ShardsConfig, ShardsSource
from evatok.data.toy.doom import DoomConfig, DoomSource
from evatok.data.toy.games import GamesConfig, GamesSource
from evatok.utils.configs import from_dict

_OPENED_BY: dict[type[SourceConfig], Callable[[Any], ClipSource]] = {
    FolderConfig: FolderSource,
    FileConfig: FileSource,
    ShardsConfig: ShardsSource,
    GamesConfig: GamesSource,
    DoomConfig: DoomSource,
    ScenesConfig: ScenesSource,
}
# The key that decides, in YAML too, which source entries describe: each config needs its own, and none has another's.
KINDS = {fields(kind)[0].name: kind for kind in _OPENED_BY}


def open_source(config: SourceConfig) -> ClipSource:
    """Open the source that a config describes; raises what that source raises."""
    return _OPENED_BY[type(config)](config)


def source_kind(entries: Mapping[str, Any]) -> type[SourceConfig]:
    """The class of the config with some of these entries, which the first of its values names; ValueError for none."""
    found = [name for name in KINDS if isinstance(entries, Mapping) and name in entries]
    if len(found) != 1:
        raise ValueError(f"a source has one of {', '.join(KINDS)}; got {entries}")
    kind = KINDS[found[0]]
    known = [field.name for field in fields(kind)]
    if unknown := [name for name in entries if name not in known]:
        raise ValueError(f"a source with `{found[0]}` has {', '.join(known)}; got {', '.join(map(str, unknown))}")
    return kind


def source_config(entries: Mapping[str, Any]) -> SourceConfig:
    """The config out of what `asdict` and JSON made of it; a missing entry takes its default.

    Raises:
        ValueError: not exactly one key says which source this is, or that source does not know an entry.
    """
    return from_dict(source_kind(entries), entries)
