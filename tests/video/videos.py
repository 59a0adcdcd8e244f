"""Videos for tests, made in ways that write_video does not offer."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.video.stream import VideoStream
from torch import Tensor

from tests.video.priority import priority_kept

REAL_TIME = {"deadline": "realtime", "cpu-used": "8"}  # of libvpx


def moving_bar(frames: int = 20, height: int = 48, width: int = 64) -> Tensor:
    """A bright bar that moves 3 pixels a frame over a ground that gets greener."""
    video = torch.zeros(frames, 3, height, width, dtype=torch.uint8)
    for number in range(frames):
        left = 3 * number % (width - 8)
        video[number, 1] = 10 * (number % 20)
        video[number, :, :, left : left + 8] = torch.tensor([220, 200, 40], dtype=torch.uint8).view(3, 1, 1)
        video[number, 2, : height // 4, : width // 4] = 200
    return video


@priority_kept()
def encode(
    path: Path,
    video: Tensor,
    *,
    options: dict[str, str] | None = None,
    codec: str = "libx264",
    rate: int | Fraction = 25,
    stamps: Sequence[int] | None = None,
    unit: Fraction | None = None,
    muxing: dict[str, str] | None = None,
    pixel_aspect: Fraction | None = None,
    **flags: bool | int,
) -> Path:
    """Writes a file; `stamps` count in `unit` seconds, `flags` are its display rotation's."""
    with av.open(str(path), "w", options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = video.shape[-2:]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if unit is not None:
            stream.codec_context.time_base = unit
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if flags:
            stream.set_display_rotation(flags["turn"], hflip=bool(flags.get("hflip")), vflip=bool(flags.get("vflip")))
        for number, picture in enumerate(video):
            frame = frame_of(picture)
            frame.pts = number if stamps is None else stamps[number]
            frame.time_base = unit or 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frame_of(picture: Tensor) -> av.VideoFrame:
    """A picture `(3, H, W)` uint8 as a frame."""
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()), format="rgb24")


def copy_packets(
    source: Path,
    target: Path,
    keep: Callable[[int, Any], bool],
    shift: int = 0,
    change: Callable[[int, Any], Any] = lambda number, packet: packet,
) -> Path:
    """Copies the packets for which `keep(number, packet)`, without encoding anew, each by `change` if that is given."""
    with av.open(str(source)) as given, av.open(str(target), "w") as out:
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in given.demux(stream) if packet.dts is not None):
            if keep(number, packet):
                packet = change(number, packet)
                packet.stream, packet.pts, packet.dts = copy, packet.pts - shift, packet.dts - shift
                out.mux(packet)
    return target


def hide_frame(number: int, packet: Any) -> Any:
    """A packet of VP8 of which every eighth has its frame hidden, as an alternative reference is."""
    data = bytearray(bytes(packet))
    data[0] &= 0xEF if number % 8 == 5 else 0xFF
    changed = av.Packet(bytes(data))
    changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
    changed.is_keyframe = packet.is_keyframe
    return changed


def trimmed(source: Path, target: Path, frames: int) -> Path:
    """A copy that begins `frames` frames later: from the key frame before on, what is not shown cut by an edit list."""
    with av.open(str(source)) as given:
        stream = given.streams.video[0]
        assert stream.time_base is not None
        shift = int(frames / 25 / stream.time_base)
        keys = [packet.pts for packet in given.demux(stream) if packet.is_keyframe and packet.pts is not None]
    first = max(key for key in keys if key <= shift)
    begun = [False]

    def keep(number: int, packet: Any) -> bool:
        begun[0] = begun[0] or packet.pts == first
        return begun[0]

    return copy_packets(source, target, keep, shift)
