"""Which of a file's video tracks is read."""

import logging
import re
from functools import lru_cache

from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from evatok.video.sources import unreadable

log = logging.getLogger(__name__)

_STILLS = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
# FFmpeg would render these as pictures of text.
_TEXT_CODECS = frozenset({"ansi", "bintext", "xbin", "idf"})
# Tracks of one recording may differ by some frames: among nearly the longest, FFmpeg's own choice counts.
_NEARLY = 0.9


def pick_track(container: InputContainer, wanted: int | None, name: str) -> VideoStream:
    """The track number `wanted` of the video tracks, from 0 on; None: the longest of those that are no still pictures.

    Of several, which one it is is said in the log. Raises VideoError where it has no track that can be read, or not
    the one that is asked for.
    """
    tracks = list(container.streams.video)
    if wanted is not None:
        if not 0 <= wanted < len(tracks):
            reason = f"it has {len(tracks)} video tracks, and number {wanted}, counted from 0, was asked for"
            raise unreadable(name, reason)
        _check(tracks[wanted], name)
        return tracks[wanted]
    moving = [track for track in tracks if not track.disposition & _STILLS]
    if not moving:
        raise unreadable(name, "it has no video stream")
    readable = [track for track in moving if track.codec_context is not None] or moving
    picked = _longest(readable, container.streams.best("video"))
    _check(picked, name)
    if len(moving) > 1:
        place = tracks.index(picked)
        _say(f"{name}: of its {len(tracks)} video tracks, number {place} is read ({picked.width}x{picked.height})")
    return picked


def _longest(tracks: list[VideoStream], best: object) -> VideoStream:
    lengths = [_seconds(track) for track in tracks]
    nearly = [track for track, length in zip(tracks, lengths, strict=True) if length >= _NEARLY * max(lengths)]
    return next((track for track in nearly if track is best), nearly[0])


def _seconds(track: VideoStream) -> float:
    """How long a track is; 0 where nothing tells."""
    if track.frames == 1:
        return 0.0
    if track.duration is not None and track.time_base is not None:
        return float(track.duration * track.time_base)
    # Matroska's writers leave it in a tag, as hours:minutes:seconds.
    parts = re.fullmatch(r"(\d+):(\d+):([\d.]+)", track.metadata.get("DURATION", ""))
    return 3600 * int(parts[1]) + 60 * int(parts[2]) + float(parts[3]) if parts else 0.0


def _check(track: VideoStream, name: str) -> None:
    if track.codec_context is None:
        raise unreadable(name, "there is no decoder for its video")
    if track.codec_context.name in _TEXT_CODECS:
        raise unreadable(name, "it is a text, not a video")
    if track.disposition & Disposition.dependent:
        raise unreadable(name, "its picture is in tiles, which are not put together here")


@lru_cache(maxsize=1024)
def _say(sentence: str) -> None:
    """Says it once, however often a file is opened."""
    log.info(sentence)
