"""Reading video: a stream of uint8 RGB frames, a whole file, or a clip by frame numbers."""

import math
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Self

import torch
from av.video.frame import VideoFrame
from torch import Tensor

from evatok.video.file import VideoFile
from evatok.video.rate import checked_fps, mean_rate
from evatok.video.sources import StrPath, VideoBytes, VideoError, VideoInfo, VideoSource
from evatok.video.times import ROUNDING, Timed, in_range, resampled, rounding, with_times
from evatok.video.writing import write_video

__all__ = [
    "Video",
    "VideoBytes",
    "VideoError",
    "VideoInfo",
    "VideoReader",
    "probe",
    "read_clip",
    "read_video",
    "write_video",
]


@dataclass
class Video:
    """A video in memory: `frames` (F, 3, H, W) uint8 RGB, `times` (F,) float64 seconds since the first frame.

    `fps` is the frame rate, or the average one where `constant_rate` is false.
    """

    frames: Tensor
    times: Tensor
    fps: float

    @property
    def constant_rate(self) -> bool:
        """Whether frame i is shown at i / fps, within a container's rounding (1 ms, at most half a frame)."""
        regular = torch.arange(len(self.times), dtype=torch.float64, device=self.times.device) / self.fps
        allowed = min(1.1 * ROUNDING, 0.5 / self.fps)
        return bool(((self.times - regular).abs() <= allowed).all())


class VideoReader:
    """The frames of a video file, decoded one by one: an iterator of (frame (3, H, W) uint8 RGB, seconds).

    Frames come as the decoder gives them, whatever number and order the container claims, and as they are shown:
    rotation and mirroring in the metadata are applied, and pixels that are not square become square. Times count from
    the first frame handed out, which has time 0, and strictly increase: a frame whose stamp is missing, or not after
    its predecessor's, is taken to follow it by 1 / fps, and so is one at which recordings were put together.

    Args:
        path: the file; a picture (PNG, JPEG) reads as one frame.
        start: seconds since the file's first frame; earlier frames are left out.
        end: frames at or after this many seconds since the file's first frame are left out.
        fps: resample to this rate: slot j is shown at j / fps and holds the source frame nearest to it in
            time, the earlier of two equally near. Without it every frame comes once, whatever the rate.
        size: (height, width) that each frame is resized to while it is decoded, area-averaged when it
            shrinks, else bicubic. The aspect ratio is the caller's business.
        track: number of the video track, from 0 on; without it the longest that is no still picture.

    Memory does not grow with the video's length. A reader is used up by one pass. It closes its file at the
    end, on an error and on leaving a `with` block.

    Raises VideoError for a file that is missing, unreadable, without video, or without a frame in the range.
    A stream that breaks half way hands out the frames that were decoded before the break, and then raises
    VideoError. ValueError: arguments that make no sense.
    """

    info: VideoInfo

    def __init__(
        self,
        path: StrPath,
        *,
        start: float | None = None,
        end: float | None = None,
        fps: float | Fraction | None = None,
        size: tuple[int, int] | None = None,
        track: int | None = None,
    ) -> None:
        self._start, self._end = _checked_range(start, end)
        self._fps = None if fps is None else checked_fps(fps)
        self._size = None if size is None else _checked_size(size)
        self._file = VideoFile(path, track=track)
        try:
            frames = self._file.frames()
            first = next(frames, None)
            if first is None:
                raise self._file.error("it holds no frame")
            self.info = self._file.info(first)
        except BaseException:
            self._file.close()
            raise
        self._items = self._read(first, frames)

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def __iter__(self) -> Iterator[tuple[Tensor, float]]:
        """Return the reader itself."""
        return self

    def __next__(self) -> tuple[Tensor, float]:
        """Decode the next frame."""
        return next(self._items)

    def close(self) -> None:
        """Close the file; nothing more comes out of the reader."""
        self._items.close()
        self._file.close()

    def _read(self, first: VideoFrame, frames: Iterator[VideoFrame]) -> Generator[tuple[Tensor, float]]:
        try:
            period = 1 / self.info.fps
            timed = in_range(self._timed(first, frames), self._start, self._end, rounding(period))
            del first  # or it would be held to the end, and may be large
            if self._fps is not None:
                timed = resampled(timed, self._fps, period)
            picture, shown = torch.empty(0), None
            for frame, time in timed:
                if frame is shown:
                    picture = picture.clone()
                else:
                    picture, shown = self._file.picture(frame, self._size), frame
                yield picture, time
            if shown is None:
                raise self._file.error(f"it has no frame from {self._start} s to {self._end} s")
        finally:
            self._file.close()

    def _timed(self, first: VideoFrame, frames: Iterator[VideoFrame]) -> Iterator[Timed]:
        """Frames with seconds since the file's first, from a key frame at or before the range's start on."""
        file, period = self._file, 1 / self.info.fps
        mended = partial(with_times, period=period, name=file.path, joined=file.joined)
        if self._start > period and first.pts is not None and first.time_base is not None:
            stamp = first.pts + math.floor(self._start / first.time_base)
            if file.keeps_time(stamp):
                found = file.seek(stamp)
                if found is not None:
                    return mended(found, origin=float(first.pts * first.time_base))
                file.reopen()
                return mended(file.frames())
        return mended(chain([first], frames))


def probe(path: StrPath, *, track: int | None = None) -> VideoInfo:
    """Describe a video file; its first frame is decoded, so a file that passes does hold a picture.

    Raises VideoError for a file that is missing, unreadable or without video.
    """
    with VideoReader(path, track=track) as reader:
        return reader.info


def read_video(
    path: StrPath,
    *,
    start: float | None = None,
    end: float | None = None,
    fps: float | Fraction | None = None,
    track: int | None = None,
) -> Video:
    """Read a video, or its part from `start` to `end` seconds, into memory.

    Arguments and errors are those of VideoReader.
    """
    with VideoReader(path, start=start, end=end, fps=fps, track=track) as reader:
        frames, seconds = zip(*reader, strict=True)
        rate = reader.info.fps if fps is None else float(fps)
    video = Video(torch.stack(frames), torch.tensor(seconds, dtype=torch.float64, device="cpu"), rate)
    if not video.constant_rate:
        video.fps = mean_rate(len(frames), seconds[-1])
    return video


def read_clip(
    source: VideoSource, start: int, count: int, step: int = 1, *, size: tuple[int, int] | None = None
) -> Tensor:
    """Read frames number start, start + step, … : (count, 3, H, W) uint8, as a plain decode counts them.

    Where the container lists every frame at one constant distance (MP4 and its kin), decoding starts at the
    key frame before `start`, and the time stamps of what comes out are checked; anywhere else it starts at
    the beginning. `start` is at least 0, `count` and `step` are at least 1; `size` as in VideoReader.

    Raises VideoError if the video cannot be read or ends too early.
    """
    wanted = range(start, start + count * step, step)
    with VideoFile(source) as file:
        clock = file.clock()
        if clock is not None and wanted[-1] >= clock.frames:
            raise file.error(f"it ends after {clock.frames} frames, and number {wanted[-1]} was asked for")
        if clock is not None:
            try:
                numbered = clock.numbered(file.seek(clock.first + start * clock.tick) or ())
                clip = _take(file, numbered, wanted, size)
            except VideoError:
                clip = []
            if len(clip) == count:
                return torch.stack(clip)
            file.reopen()
        clip = _take(file, enumerate(file.frames()), wanted, size)
        if len(clip) < count:
            raise file.error(f"it ends before frame number {wanted[-1]} (counted from 0), which was asked for")
        return torch.stack(clip)


def _checked_range(start: float | None, end: float | None) -> tuple[float, float]:
    first, last = 0.0 if start is None else float(start), math.inf if end is None else float(end)
    if not 0 <= first < last or math.isinf(first):
        raise ValueError(f"start, end: got {start}, {end}; seconds with 0 <= start < end, or None")
    return first, last


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    height, width = (int(side) for side in size)
    if height < 1 or width < 1:
        raise ValueError(f"size: got {size}; height and width are at least 1")
    return height, width


def _take(
    file: VideoFile, numbered: Iterable[tuple[int, VideoFrame]], wanted: range, size: tuple[int, int] | None
) -> list[Tensor]:
    """Convert the wanted frames; the list is shorter where the frames begin too late or end too early."""
    clip: list[Tensor] = []
    for number, frame in numbered:
        if number == wanted[len(clip)]:
            clip.append(file.picture(frame, size))
        elif number > wanted[len(clip)]:
            break
        if len(clip) == len(wanted):
            break
    return clip
