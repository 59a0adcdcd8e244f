"""One open video file: its track, frames as they are decoded, seeking, and what the container says."""

import errno
import gc
import io
import os
from collections import deque
from collections.abc import Iterator
from functools import cached_property
from itertools import chain, islice
from types import TracebackType
from typing import Self

import av
import torch
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from torch import Tensor

from evatok.video.clock import ConstantClock, constant_clock
from evatok.video.layout import FileLayout, layout_of_matroska, layout_of_mp4
from evatok.video.limits import most_pixels, no_such_size, threads_for, too_large
from evatok.video.rate import STAMPS, header_rate, measured_rate
from evatok.video.scaling import Scaler, to_picture
from evatok.video.shown import UPRIGHT, Orientation, orientation, pixel_aspect, shown
from evatok.video.sources import NamedBytes, VideoBytes, VideoError, VideoInfo, VideoSource, reason_of, unreadable
from evatok.video.tracks import pick_track

_LARGE = 2**22  # pixels of a frame that is worth a garbage collection, which takes a tenth of a second
# Containers by FFmpeg's names. The one whose index lists all frames as they are decoded:
_INDEXED = "mov,mp4,m4a,3gp,3g2,mj2"
# Those in which a stamp that packets have is found by seeking, and which say how long they are:
_LAYOUTS = {_INDEXED: layout_of_mp4, "matroska,webm": layout_of_matroska}
# The one that says when packets are decoded, and not when frames are shown:
_UNSTAMPED = "avi"
# FFmpeg's AVFMT_TS_DISCONT marks containers whose recordings are put together end to end.
_JOINED = 0x200
_EARLY = 32  # first packets, among which are all that are shown before the very first


# Limited range, 16 to 235, as full range.
_WIDENED = ((torch.arange(256, device="cpu") - 16) * (255 / 219)).round().clamp(0, 255).to(torch.uint8)


class VideoFile:
    """One open video file: one of its video tracks, whose errors come out as VideoError.

    Args:
        source: the file.
        threads: that decode it; None: as many as its pictures are worth.
        track: number of the video track, from 0 on; None: the longest that is no still picture.

    Pictures of more than `most_pixels()` are refused before any memory is taken for them.
    """

    def __init__(self, source: VideoSource, threads: int | None = None, *, track: int | None = None) -> None:
        self._source = source
        self._data = source.data if isinstance(source, VideoBytes) else None
        self.path = source.name if isinstance(source, VideoBytes) else os.fspath(source)
        self._threads, self._track, self._most_pixels = threads, track, most_pixels()
        self._shape: torch.Size | None = None
        self._scaler = Scaler()
        self._used_threads = 0
        self._garbage = 0  # pixels of a frame that only Python's garbage collection frees
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def error(self, reason: str) -> VideoError:
        return unreadable(self.path, reason)

    def _open(self) -> None:
        if self._data is None and not os.path.exists(self.path):
            raise self.error("there is no such file")
        if self._data is None and not os.path.isfile(self.path):
            raise self.error("it is not a file")
        self._size = os.path.getsize(self.path) if self._data is None else len(self._data)
        if self._size == 0:
            raise self.error("the file is empty")
        # With the protocol spelled out, a colon or '%d' in a name is no protocol or pattern, and no playlist can
        # make FFmpeg reach for the network; from memory, none can make it reach for files either.
        file: str | io.BytesIO = f"file:{self.path}"
        allowed = "file"
        if self._data is not None:
            file, allowed = NamedBytes(self._data, self.path), "none"
        try:
            # Opening a file decodes some frames of it already, which may not be larger either.
            options = {"protocol_whitelist": allowed, "max_pixels": str(self._most_pixels)}
            self._container = av.open(file, "r", options=options, metadata_errors="replace")
        except (FFmpegError, OSError) as error:
            raise self.error(reason_of(error)) from error
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        stream = self._stream = pick_track(self._container, self._track, self.path)
        if stream.width * stream.height > self._most_pixels:
            raise self.error(too_large(stream.width, stream.height, self._most_pixels))
        # Pictures may be larger than the container says, or grow in the middle; then the decoder refuses them.
        stream.codec_context.options = {"max_pixels": str(self._most_pixels)}
        stream.thread_type = "AUTO"
        own = threads_for(stream.width * stream.height)
        self._used_threads = stream.thread_count = own if self._threads is None else self._threads
        self._pixel_aspect = pixel_aspect(stream)
        self._turn: Orientation | None = None  # until a frame has been decoded
        self._rotation = 0

    def reopen(self) -> None:
        """Go back to the beginning, which seeking does not reach in every format."""
        self.close()
        self._open()

    def close(self) -> None:
        self._container.close()
        if self._garbage > _LARGE:
            self._garbage = 0
            gc.collect()

    @property
    def broadcast(self) -> bool:
        """Whether this is a broadcast stream, which may have losses; decoders hide them."""
        return self._format == "mpegts"

    @property
    def joined(self) -> bool:
        """Whether the container is one of which recordings are put together end to end, so that stamps may jump."""
        return bool(int(self._container.format.flags) & _JOINED)

    @property
    def _format(self) -> str:
        return str(self._container.format.name)

    @cached_property
    def _layout(self) -> FileLayout:
        look = _LAYOUTS.get(self._format)
        if look is None:
            return FileLayout()
        try:
            with io.BytesIO(self._data) if self._data is not None else open(self.path, "rb") as file:
                return look(file)
        except OSError as error:
            raise self.error(reason_of(error)) from error

    def frames(self) -> Iterator[VideoFrame]:
        """Decode from where the file stands to its end."""
        decoded: deque[int | None] = deque()  # stamps of packets whose frames are to come
        try:
            for packet in self._demuxed():
                # Elsewhere than in a broadcast this is a file's cut-off end.
                if packet.is_corrupt and not self.broadcast:
                    yield from self._stream.codec_context.decode(None)
                    raise self.error("it breaks off in the middle of a frame")
                # To a decoder nothing means the end, which it is only where there is no stamp.
                if not packet.size and packet.dts is not None:
                    continue
                if self._format == _UNSTAMPED and packet.size:
                    decoded.append(packet.dts)
                for frame in packet.decode():
                    if decoded:
                        frame.pts = decoded.popleft()
                    self._notice_turn(frame)
                    yield frame
        except (FFmpegError, OSError) as error:
            decoder, number = self._stream.codec_context, error.errno
            # A decoder that refuses a size is left without one; AV1's keeps the one before, and has another error.
            dav1d = decoder.name == "libdav1d"
            if number == (errno.ERANGE if dav1d else errno.EINVAL) and (dav1d or not decoder.width):
                raise self.error(no_such_size(self._most_pixels)) from error
            raise self.error(f"it breaks off: {reason_of(error)}") from error
        if self._cut_short():
            raise self.error("it breaks off before its last frame")

    def _demuxed(self) -> Iterator[Packet]:
        """What the container has of the track, in the file's order, and an empty packet at its end."""
        try:
            yield from self._container.demux(self._stream)
        except IndexError:
            return  # PyAV, once that is done, looks for a track that began in the middle of the file

    def _notice_turn(self, frame: VideoFrame) -> None:
        """Remembers how frames are turned: what is said at one holds until something else is said."""
        # A frame whose side data were looked at lives until Python collects its garbage; a look at each takes memory.
        if self._turn is None or frame.rotation != self._rotation:
            self._turn = orientation(frame) or self._turn or UPRIGHT
            self._rotation, self._garbage = frame.rotation, frame.width * frame.height

    def _cut_short(self) -> bool:
        """Whether frames that the file's index or layout says there are lie beyond its end."""
        entries = self._stream.index_entries
        return self._layout.cut_short or bool(len(entries) and entries[-1].pos + entries[-1].size > self._size)

    def count(self) -> int:
        """How many frames decode, from the beginning on; without decoding them where the container's word is good."""
        clock = self.clock()
        if clock is not None:
            with self._another() as other:
                stamps = [packet.pts for packet in islice(other._packets(), _EARLY)]
            # What is shown before the first packet lacks its references.
            if all(stamp is not None and stamp >= (stamps[0] or 0) for stamp in stamps):
                return clock.frames
        return sum(1 for _ in self.frames())

    def _another(self) -> "VideoFile":
        """The same file, opened once more."""
        return VideoFile(self._source, self._threads, track=self._track)

    def _packets(self) -> Iterator[Packet]:
        """What holds frames, in the file's order, from where it stands to its end."""
        try:
            for packet in self._demuxed():
                if packet.size:
                    yield packet
        except (FFmpegError, OSError) as error:
            raise self.error(f"it breaks off: {reason_of(error)}") from error

    def seek(self, stamp: int) -> Iterator[VideoFrame] | None:
        """Frames from a key frame at or before `stamp` on, or None where seeking does not lead to one."""
        try:
            if self._turn is None:
                next(self.frames(), None)  # its first frame may say how all are turned
            self._container.seek(stamp, stream=self._stream)
        except (VideoError, FFmpegError, OSError):
            return None
        frames = self.frames()
        try:
            # What is shown before the key frame that decoding began with may lack its references.
            key = next((frame for frame in frames if frame.key_frame), None)
        except VideoError:
            return None
        if key is None or key.pts is None or key.pts > stamp:
            return None
        return chain([key], frames)

    def keeps_time(self, until: int) -> bool:
        """Whether all frames up to a stamp are shown at their own stamps, so that one may seek there.

        Where the container's index does not say so, the packets before are read, but not decoded.
        """
        if self._format not in _LAYOUTS:
            return False
        if self.clock() is not None:
            return True
        stamps: list[int] = []
        with self._another() as other:
            for packet in other._packets():
                if packet.pts is None or not (stamps or packet.is_keyframe):
                    return False
                stamps.append(packet.pts)
                if packet.dts is not None and packet.dts > until:
                    break
        return len(set(stamps)) == len(stamps) and min(stamps, default=0) == stamps[0]

    def picture(self, frame: VideoFrame, size: tuple[int, int] | None) -> Tensor:
        """Convert a decoded frame to RGB as shown, (3, H, W) uint8, resized if a size is given."""
        how = shown(frame, self._turn or UPRIGHT, self._pixel_aspect)
        stored = how.stored if size is None else (size[1], size[0]) if how.turn.across else size
        try:
            picture = to_picture(self._scaler.frame(frame, stored, "rgb24", threads=self._used_threads))
        except (FFmpegError, OSError, ValueError) as error:
            raise self.error(f"its colours cannot be converted: {reason_of(error)}") from error
        if frame.format.name.startswith("gray") and frame.color_range == ColorRange.MPEG:
            picture = _WIDENED[picture.long()]  # FFmpeg takes every grey for full range
        picture = picture.mT if how.turn.across else picture
        axes = [axis for axis, flipped in ((1, how.turn.upside_down), (2, how.turn.mirrored)) if flipped]
        picture = (picture.flip(axes) if axes else picture).contiguous()
        if self._shape is not None and self._shape != picture.shape:
            raise self.error(f"its pictures change from {_by(self._shape)} to {_by(picture.shape)} pixels")
        self._shape = picture.shape
        return picture

    def clock(self) -> ConstantClock | None:
        """The constant rate, where the container's index lists all frames at one distance; else None."""
        whole = self._format == _INDEXED and not self._layout.fragmented and not self._cut_short()
        return constant_clock(self._stream) if whole else None

    def rate(self) -> float:
        """The average rate, as far as the container says it or the first packets show it."""
        stream = self._stream
        claimed = header_rate(stream)
        if stream.time_base is None or (self._format == _INDEXED and not self._layout.fragmented):
            return claimed
        with self._another() as other:
            stamps = [packet.pts for packet in islice(other._packets(), STAMPS)]
        known = [stamp for stamp in stamps if stamp is not None]
        return claimed if len(known) < len(stamps) else measured_rate(claimed, known, stream.time_base)

    def info(self, first: VideoFrame) -> VideoInfo:
        """Describe the video; `first` is the frame that was decoded last."""
        stream, seconds = self._stream, None
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif self._container.duration is not None:
            seconds = self._container.duration / av.time_base
        how, codec = shown(first, self._turn or UPRIGHT, self._pixel_aspect), stream.codec_context.name
        return VideoInfo(self.path, stream.frames or None, self.rate(), how.size, seconds, codec, how.pixel_aspect)


def _by(shape: torch.Size) -> str:
    return f"{shape[-1]}x{shape[-2]}"
