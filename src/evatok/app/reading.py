"""The beginning of a video, read once and kept as the model sees it, so that it can be encoded again and again."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from evatok.app.limits import AppLimits
from evatok.codec.moments import frame_seconds
from evatok.tokenizer.clips import ClipChunk
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.tokens import VideoRecord
from evatok.video.fit import Fit
from evatok.video.reading import probe


@dataclass(frozen=True)
class KeptClips:
    """Clips of one video that have been read: a `ClipReader`.

    Args:
        kept: as they were read.
        record: of the frames in them.
        fit: of all of them.
    """

    videos: ClassVar[int] = 1

    kept: tuple[ClipChunk, ...]
    record: VideoRecord
    fit: Fit

    @property
    def first(self) -> Tensor:
        """The first clip, `(1, F, 3, h, w)` float32 in [-1, 1]."""
        return self.kept[0].clips[:1]

    @property
    def times(self) -> list[float]:
        """Seconds at which the frames are shown."""
        return list(frame_seconds(self.record, range(self.record.frames)))

    def chunks(self) -> Iterator[ClipChunk]:
        """As `ClipReader.chunks` says."""
        return iter(self.kept)

    def records(self) -> list[VideoRecord]:
        """As `ClipReader.records` says."""
        return [self.record]


def read_clips(model: VideoTokenizer, path: Path, limits: AppLimits) -> Iterator[KeptClips]:
    """The first clips of a file as soon as they are read, then all within the limits if they are more.

    Raises:
        VideoError: the file cannot be read.
    """
    info = probe(path)
    end = min(limits.seconds, limits.frames / info.fps)
    reader = model.file_clips(path, end=end)
    kept: list[ClipChunk] = []
    frames = given = 0
    for chunk in reader.chunks():
        kept.append(ClipChunk(chunk.videos, chunk.clips.clone()))
        frames += chunk.clips.shape[0] * chunk.clips.shape[1]
        # Of what it has read, the reader may still have a clip to give.
        if frames == len(reader.times) and given == 0:
            given = frames
            yield KeptClips(tuple(kept), reader.records()[0], reader.fit)
        # The rate is but what the file says: frames are counted too.
        if frames == len(reader.times) and frames >= limits.frames:
            break
    if frames > given:
        yield KeptClips(tuple(kept), reader.records()[0], reader.fit)
