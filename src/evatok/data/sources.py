"""Sources of clips by their configs: a folder, a file, shards, rendered episodes, scenes over pictures and videos."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

from evatok.data.clip_source import ClipSource, VideoEntry
from evatok.data.folders import FileConfig, FileSource, FolderConfig, FolderSource
from evatok.data.scenes.source import ScenesConfig, ScenesSource
from evatok.data.shards import ShardsConfig, ShardsSource
from evatok.data.toy.doom import DoomConfig, DoomSource
from evatok.data.toy.games import GamesConfig, GamesSource

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
    """The config out of what `asdict` and JSON made of it; ValueError where these are no source's entries."""
    for kind in get_args(SourceConfig):
        if {field.name for field in fields(kind)} == set(entries):
            config: SourceConfig = kind(**entries)
            return config
    raise ValueError(f"{dict(entries)} are the entries of no source")
