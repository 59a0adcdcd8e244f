"""Videos as clips of the model's size, from a tensor or from a file, as often as they are asked for."""

import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from evatok.tokens.tokens import VideoRecord
from evatok.video.fit import Fit, Size
from evatok.video.rate import checked_fps, mean_rate
from evatok.video.reading import VideoReader, probe

# Clips that go through the network together. Tokens and pictures do not depend on it; memory does.
CLIPS_AT_ONCE = 4
TENSOR_FPS = 24.0


@dataclass(frozen=True)
class ClipChunk:
    """Clips with equally many frames, to be used before the next chunk is asked for.

    Args:
        videos: number of the video of each clip.
        clips: `(n, F, 3, h, w)` float32 in [-1, 1].
    """

    videos: list[int]
    clips: Tensor


class ClipReader(Protocol):
    """Videos that can be read from their beginning, again and again."""

    @property
    def videos(self) -> int:
        """Number of the videos."""

    def chunks(self) -> Iterator[ClipChunk]:
        """All clips, those of a video in order; a video's last clip may have fewer frames."""

    def records(self) -> list[VideoRecord]:
        """A record of each video, once `chunks` has come to its end."""


@dataclass(frozen=True)
class TensorClips:
    """Videos `(B, F, 3, H, W)` in memory.

    Args:
        video: uint8 or float in [-1, 1].
        fit: how pictures are brought to the model's size.
        clip_frames: frames of a full clip.
        fps: frames per second.
    """

    video: Tensor
    fit: Fit
    clip_frames: int
    fps: float = TENSOR_FPS

    @property
    def videos(self) -> int:
        """As `ClipReader.videos` says."""
        return len(self.video)

    def chunks(self) -> Iterator[ClipChunk]:
        """As `ClipReader.chunks` says; the full clips of all videos come first."""
        whole = self.video.shape[1] // self.clip_frames * self.clip_frames
        for part in (self.video[:, :whole], self.video[:, whole:]):
            if part.shape[1]:
                clips = part.unflatten(1, (-1, min(self.clip_frames, part.shape[1])))
                for numbers in torch.arange(len(clips) * clips.shape[1]).split(CLIPS_AT_ONCE):
                    videos = numbers // clips.shape[1]
                    yield ClipChunk(videos.tolist(), self.fit.apply(clips[videos, numbers % clips.shape[1]]))

    def records(self) -> list[VideoRecord]:
        """As `ClipReader.records` says."""
        record = VideoRecord(self.video.shape[1], self.fps, self.fit.source, self.fit.to_dict())
        return [record] * len(self.video)


class FileClips:
    """The video of a file, read as a stream: memory grows by 8 bytes a frame.

    `fit` and `fps` are known from the beginning, and `times` has the seconds of the frames that have been read.

    Args:
        path: of the file.
        plan: the fit for pictures of a size.
        clip_frames: frames of a full clip.
        fps: rate to resample to; None keeps every frame.
        track: number of the video track; None: the longest.
        end: seconds of the video that are read; None: all.

    Raises:
        VideoError: it cannot be read, now or later.
    """

    videos = 1

    def __init__(
        self,
        path: str | os.PathLike[str],
        plan: Callable[[Size], Fit],
        clip_frames: int,
        fps: float | None,
        track: int | None = None,
        end: float | None = None,
    ) -> None:
        self._resample = None if fps is None else checked_fps(fps)
        info = probe(path, track=track)
        self._path, self._track, self._end, self._clip_frames = path, track, end, clip_frames
        self.fit = replace(plan(info.size), pixel_aspect=info.pixel_aspect.as_integer_ratio())
        self.fps = self._resample or info.fps
        self.times = array("d")

    def chunks(self) -> Iterator[ClipChunk]:
        """As `ClipReader.chunks` says."""
        self.times, length = array("d"), self._clip_frames
        buffer = torch.empty(CLIPS_AT_ONCE * length, 3, *self.fit.size, dtype=torch.float32)
        with VideoReader(self._path, end=self._end, fps=self._resample, track=self._track) as reader:
            while count := self._fill(buffer, reader):
                whole = count // length * length
                for clips in (buffer[:whole].unflatten(0, (-1, length)), buffer[None, whole:count]):
                    if clips.numel():
                        yield ClipChunk([0] * len(clips), clips)

    def _fill(self, buffer: Tensor, frames: Iterator[tuple[Tensor, float]]) -> int:
        """Fits the next frames into a buffer `(n, 3, h, w)`; returns how many there were."""
        count = 0
        for frame, time in islice(frames, len(buffer)):
            buffer[count] = self.fit.apply(frame)
            self.times.append(time)
            count += 1
        return count

    def records(self) -> list[VideoRecord]:
        """As `ClipReader.records` says."""
        # A copy: an array of which there are views cannot grow.
        stamps = _irregular(torch.tensor(self.times, dtype=torch.float64), self.fps)
        fps = self.fps if stamps is None else mean_rate(len(stamps), self.times[-1])
        return [VideoRecord(len(self.times), fps, self.fit.source, self.fit.to_dict(), stamps)]


def _irregular(times: Tensor, fps: float) -> Tensor | None:
    """The time stamps, unless they are those of a constant rate to half a millisecond."""
    regular = torch.arange(len(times), dtype=torch.float64) / fps
    return None if torch.allclose(times, regular, atol=5e-4, rtol=0) else times
