"""Sources of clips by their configs: a folder, a file, shards, rendered games, photographs panned and zoomed over."""

from evatok.data.clip_source import ClipSource, VideoEntry
from evatok.data.folders import FileConfig, FileSource, FolderConfig, FolderSource
from evatok.data.games import GamesConfig, GamesSource
from evatok.data.photographs import PhotographsConfig, PhotographsSource
from evatok.data.shards import ShardsConfig, ShardsSource

__all__ = [
    "ClipSource",
    "FileConfig",
    "FolderConfig",
    "GamesConfig",
    "PhotographsConfig",
    "ShardsConfig",
    "SourceConfig",
    "VideoEntry",
    "open_source",
]

SourceConfig = FolderConfig | FileConfig | ShardsConfig | GamesConfig | PhotographsConfig


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
        case PhotographsConfig():
            return PhotographsSource(config)
