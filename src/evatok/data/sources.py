"""Sources of clips by their configs: a folder, a file, shards, rendered episodes, scenes over pictures and videos."""

from collections.abc import Mapping
from typing import Any

from evatok.data.clip_source import ClipSource, VideoEntry
from evatok.data.folders import FileConfig, FileSource, FolderConfig, FolderSource
from evatok.data.scenes.source import ScenesConfig, ScenesSource
from evatok.data.shards import ShardsConfig, ShardsSource
from evatok.data.toy.doom import DoomConfig, DoomSource
from evatok.data.toy.games import GamesConfig, GamesSource
from evatok.utils.configs import from_dict

__all__ = [
    "ClipSource",
    "DoomConfig",
    "FileConfig",
    "FolderConfig",
    "GamesConfig",
    "ScenesConfig",
    "ShardsConfig",
    "SourceConfig",
    "VideoEntry",
    "open_source",
    "source_config",
]

SourceConfig = FolderConfig | FileConfig | ShardsConfig | GamesConfig | DoomConfig | ScenesConfig
# The key that decides, in YAML too, which source entries describe: each config needs its own, and none has another's.
KINDS: dict[str, type[SourceConfig]] = {
    "folder": FolderConfig,
    "file": FileConfig,
    "shards": ShardsConfig,
    "games": GamesConfig,
    "doom": DoomConfig,
    "scenes": ScenesConfig,
}


def open_source(config: SourceConfig) -> ClipSource:
    """Open the source that a config describes; raises what that source raises."""
    match config:
        case FolderConfig():
            return FolderSource(config)
        case FileConfig():
            return FileSource(config)
        case ShardsConfig():
            return ShardsSource(config)
        case GamesConfig():
            return GamesSource(config)
        case DoomConfig():
            return DoomSource(config)
        case ScenesConfig():
            return ScenesSource(config)


def source_config(entries: Mapping[str, Any]) -> SourceConfig:
    """The config out of what `asdict` and JSON made of it; a missing entry takes its default.

    Raises:
        ValueError: not exactly one key says which source this is, or that source does not know an entry.
    """
    deciding = [key for key in KINDS if key in entries]
    if len(deciding) != 1:
        raise ValueError(f"a source has one of the keys {', '.join(KINDS)}; got {dict(entries)}")
    return from_dict(KINDS[deciding[0]], entries)
