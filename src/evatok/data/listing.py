"""Which pictures and videos a folder holds, and of which classes its videos are."""

import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

PICTURE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

# Files that hold moving pictures, as FFmpeg reads them. Where it names suffixes at all, it names those of sound, of
# subtitles and of text beside them.
VIDEO_SUFFIXES = {".3g2", ".3gp", ".amv", ".apng", ".asf", ".avi", ".divx", ".dvr-ms", ".f4v", ".flv", ".gif", ".gxf"}
VIDEO_SUFFIXES |= {".ismv", ".ivf", ".m4v", ".mj2", ".mk3d", ".mkv", ".mov", ".mp4", ".mxf", ".nsv", ".nut"}
VIDEO_SUFFIXES |= {".ogg", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".webm", ".wmv", ".wtv", ".xvid", ".y4m"}
# Broadcast, discs and cameras.
VIDEO_SUFFIXES |= {".dif", ".dv", ".dvd", ".m2p", ".m2t", ".m2ts", ".mpe", ".mpeg", ".mpg", ".mts", ".tp", ".trp"}
VIDEO_SUFFIXES |= {".ts", ".vob"}
# Bare streams of a codec.
VIDEO_SUFFIXES |= {".264", ".265", ".266", ".avc", ".h261", ".h263", ".h264", ".h265", ".h266", ".hevc", ".m1v"}
VIDEO_SUFFIXES |= {".m2v", ".mjpeg", ".mjpg", ".mpv", ".obu", ".vc1", ".vvc"}

# Folders that systems put beside a user's: what macOS packs, Windows's waste bin, previews on a network drive.
_NO_FOLDERS = {"__MACOSX", "$RECYCLE.BIN", "@eaDir"}
_SHOWN = 5  # files under two names that the log tells of

# A path relative to the folder, and a label, "" where there is none.
Listed = tuple[str, str]


def videos_of(root: Path) -> list[Listed]:
    """Paths of video files, each with the name of its subfolder ("" directly in it), as `files_of` finds them.

    A file that has several names, by links, is listed under the first of them in each subfolder: where classes share
    a video, it stays in all of them. What is left out is logged.
    """
    paths = [Path(key) for key in files_of(root, VIDEO_SUFFIXES)]
    listed: list[Listed] = []
    first: dict[tuple[str, object], str] = {}
    again: list[str] = []
    for path in paths:
        key, label = path.as_posix(), path.parts[0] if len(path.parts) > 1 else ""
        known = first.setdefault((label, file_number(root / path) or key), key)
        if known == key:
            listed.append((key, label))
        else:
            again.append(f"{key} is {known}")
    if again:
        more = "; ..." if len(again) > _SHOWN else ""
        logger.warning("%s: left out %d links to other videos: %s%s", root, len(again), "; ".join(again[:_SHOWN]), more)
    return listed


def files_of(root: Path, suffixes: Collection[str]) -> list[str]:
    """Paths within the folder, in order, of files that end in one of these; capitals do not matter.

    Subfolders are looked into, links too, but for one that leads back to a folder that it lies in. What is hidden, by
    a dot, and what systems put there is passed over. A link to nothing counts as a file.
    """
    files = (path for path in _files(root, frozenset()) if path.suffix.lower() in suffixes)
    return [path.as_posix() for path in sorted(path.relative_to(root) for path in files)]


def file_number(path: Path) -> tuple[int, int] | None:
    """What a file system calls a file by, and all its links; None where it does not, or there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def _files(folder: Path, above: frozenset[object]) -> Iterator[Path]:
    """What is not hidden in a folder and below it; `above` are the folders that it lies in."""
    here = file_number(folder) or folder.resolve()
    if here in above:
        return
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".") and entry.name not in _NO_FOLDERS]
    except OSError as error:
        logger.warning("cannot look into %s: %s", folder, error.strerror)
        return
    for entry in found:
        # A link may lead in a circle, of which only `os.path` makes nothing.
        if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
            yield from _files(Path(entry.path), above | {here})
        else:
            yield Path(entry.path)
