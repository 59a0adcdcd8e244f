"""What a manifest says of videos, as a source has it."""

from collections.abc import Iterable, Sequence

from evatok.data.clip_source import VideoEntry
from evatok.data.listing import Listed
from evatok.data.manifest import ManifestRow
from evatok.data.quarantine import SkippedVideo, too_short


def content_identity(row: ManifestRow) -> tuple[str, ...]:
    """What names a file's content in `ClipSource.identities`: copies share it."""
    return (f"sha256:{row.sha256}",) if row.sha256 else ()


def classes_of(listed: Iterable[Listed]) -> tuple[str, ...]:
    """Names of the classes, in order."""
    return tuple(sorted({label for _, label in listed if label}))


def entries_of(
    rows: Sequence[ManifestRow], classes: tuple[str, ...], min_frames: int
) -> tuple[list[VideoEntry], tuple[SkippedVideo, ...]]:
    """What a manifest says of videos: those that are used, and those that are not."""
    number = {label: index for index, label in enumerate(classes)}
    entries, skipped = [], []
    for row in rows:
        found = row.decoded
        if found is None:
            skipped.append(SkippedVideo(row.path, str(row.reason)))
        elif found.frames < min_frames:
            skipped.append(SkippedVideo(row.path, too_short(found.frames, min_frames)))
        else:
            entries.append(VideoEntry(row.path, number.get(row.label, -1), found.frames, found.size))
    return entries, tuple(skipped)
