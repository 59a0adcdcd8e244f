"""Videos as clips of the model's size, from a tensor or from a file, as often as they are asked for."""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from evatok.tokens.tokens import VideoRecord
from evatok.video.fit import Fit, Size
from evatok.video.reading import VideoReader

# Clips that go through the network together. Tokens do not depend on it; memory does.
CLIPS_AT_ONCE = 8
TENSOR_FPS = 24.0


@dataclass(frozen=True)
class Piece:
    """Clips with equally many frames, to be used before the next piece is asked for.

    Args:
        videos: number of the video of each clip.
        clips: `(n, F, 3, h, w)` float32 in [-1, 1].
    """

    videos: list[int]
    clips: Tensor


class Footage(Protocol):
    """Videos that can be read from their beginning, again and again."""

    def pieces(self) -> Iterator[Piece]:
        """All clips, those of a video in order; a video's last clip may have fewer frames."""

    def records(self) -> list[VideoRecord]:
        """A record of each video, once `pieces` has come to its end."""


@dataclass(frozen=True)
class TensorFootage:
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
    fps: float

    def pieces(self) -> Iterator[Piece]:
        """As `Footage.pieces` says."""
        for clips in self.video.split(self.clip_frames, 1):
            for videos in torch.arange(len(clips)).split(CLIPS_AT_ONCE):
                yield Piece(videos.tolist(), self.fit.apply(clips[videos]))

    def records(self) -> list[VideoRecord]:
        """As `Footage.records` says."""
        record = VideoRecord(self.video.shape[1], self.fps, self.fit.source, self.fit.to_dict())
        return [record] * len(self.video)


class FileFootage:
    """The video of a file, read as a stream: memory grows by 8 bytes a frame.

    Args:
        path: of the file.
        plan: the fit for pictures of a size.
        clip_frames: frames of a full clip.
        fps: rate to resample to; None keeps every frame.
    """

    def __init__(self, path: str | Path, plan: Callable[[Size], Fit], clip_frames: int, fps: float | None) -> None:
        self._path, self._plan, self._clip_frames, self._fps = path, plan, clip_frames, fps
        self._records: list[VideoRecord] = []

    def pieces(self) -> Iterator[Piece]:
        """As `Footage.pieces` says."""
        times, length = array("d"), self._clip_frames
        with VideoReader(self._path, fps=self._fps) as reader:
            fit = self._plan(reader.info.size)
            buffer = torch.empty(CLIPS_AT_ONCE * length, 3, *fit.size)
            while count := _fill(buffer, reader, fit, times):
                whole = count // length * length
                for clips in (buffer[:whole].unflatten(0, (whole // length, length)), buffer[None, whole:count]):
                    if clips.numel():
                        yield Piece([0] * len(clips), clips)
            rate = self._fps or reader.info.fps
        stamps = _irregular(torch.frombuffer(times, dtype=torch.float64), rate)
        self._records = [VideoRecord(len(times), rate, fit.source, fit.to_dict(), stamps)]

    def records(self) -> list[VideoRecord]:
        """As `Footage.records` says."""
        return self._records


def _fill(buffer: Tensor, frames: Iterator[tuple[Tensor, float]], fit: Fit, times: "array[float]") -> int:
    """Fits the next frames into a buffer `(n, 3, h, w)` and notes their times; returns how many there were."""
    count = 0
    for frame, time in islice(frames, len(buffer)):
        buffer[count] = fit.apply(frame)
        times.append(time)
        count += 1
    return count


def _irregular(times: Tensor, fps: float) -> Tensor | None:
    """The time stamps, unless they are those of a constant rate to half a millisecond."""
    regular = torch.arange(len(times), dtype=torch.float64) / fps
    return None if torch.allclose(times, regular, atol=5e-4, rtol=0) else times
