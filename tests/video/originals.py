"""Short videos of many codecs, formats and containers, as FFmpeg makes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from tests.video.priority import priority_kept

FRAMES = 14


@dataclass(frozen=True)
class Original:
    """How a video is made: a name, whose suffix is its container, and what FFmpeg is told."""

    name: str
    codec: str
    pixels: str = "yuv420p"
    size: tuple[int, int] = (48, 64)
    options: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)
    first_stamp: int = 0
    frames: int = FRAMES


_QUIET = {"x265-params": "log-level=none:pools=none"}

ORIGINALS = (
    Original("h264.mp4", "libx264", options={"g": "5", "bf": "2"}),
    Original("h264-fragments.mp4", "libx264", options={"g": "5"}, container={"movflags": "frag_keyframe+empty_moov"}),
    Original("h264-10bit.mkv", "libx264", "yuv420p10le"),
    Original("h264-interlaced.ts", "libx264", options={"x264-params": "interlaced=1", "flags": "+ildct+ilme"}),
    Original("h264-negative.mov", "libx264", first_stamp=-9, container={"avoid_negative_ts": "disabled"}),
    Original("h264-rgb.mkv", "libx264rgb", "rgb24"),
    Original("h264.flv", "libx264"),
    Original("hevc.mp4", "libx265", options=_QUIET),
    Original("av1.mp4", "libsvtav1", size=(64, 64), options={"preset": "12"}),
    Original("mpeg4.avi", "mpeg4"),
    Original("mpeg2-interlaced.mpg", "mpeg2video", options={"flags": "+ildct+ilme"}),
    Original("vp9.webm", "libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}),
    Original("vp8-alpha.webm", "libvpx", "yuva420p", options={"deadline": "realtime", "auto-alt-ref": "0"}),
    Original("ffv1-16bit.mkv", "ffv1", "yuv420p16le"),
    Original("ffv1-alpha.avi", "ffv1", "bgra"),
    Original("ffv1-one-pixel.mkv", "ffv1", "yuv444p", size=(1, 1)),
    Original("png-alpha.mov", "png", "rgba"),
    Original("gray.mov", "qtrle", "gray"),
    Original("prores-alpha.mov", "prores_ks", "yuva444p10le"),
    Original("mjpeg.avi", "mjpeg", "yuvj422p"),
    Original("palette.gif", "gif", "rgb8"),
    Original("rgb555.mov", "qtrle", "rgb555be"),
    Original("wmv2.wmv", "wmv2"),
    Original("raw.y4m", "wrapped_avframe"),
    Original("h264.avi", "libx264"),
    Original("h264.h264", "libx264"),
    Original("h264.m2ts", "libx264"),
    Original("h264-no-index.mkv", "libx264", container={"live": "1"}),
    Original("h264-no-edits.m4v", "libx264", container={"movflags": "faststart", "use_editlist": "0"}),
    Original("hevc.hevc", "libx265", options=_QUIET),
    Original("hevc.ts", "libx265", options=_QUIET),
    Original("av1.webm", "libsvtav1", size=(64, 64), options={"preset": "12"}),
    Original("av1.obu", "libsvtav1", size=(64, 64), options={"preset": "12"}),
    Original("mpeg1.mpg", "mpeg1video"),
    Original("mpeg2.vob", "mpeg2video"),
    Original("mpeg2.mxf", "mpeg2video"),
    Original("mpeg4.3gp", "mpeg4"),
    Original("h263.3gp", "h263", size=(96, 128)),
    Original("msmpeg4.asf", "msmpeg4"),
    Original("sorenson.flv", "flv"),
    Original("vp8.ogg", "libvpx", options={"deadline": "realtime"}),
    Original("vp9.ivf", "libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}),
    Original("rv20.rm", "rv20", size=(96, 128)),
    Original("ffv1.nut", "ffv1"),
    Original("animated.apng", "apng", "rgba"),
)

# What no folder of videos lists, and is encoded all the same.
PICTURES = (
    Original("alpha.png", "png", "rgba", frames=1),
    Original("grey-16bit.png", "png", "gray16be", frames=1),
    Original("photograph.jpg", "mjpeg", "yuvj420p", frames=1),
    Original("alpha.webp", "libwebp", "bgra", frames=1),
    Original("rows.bmp", "bmp", "bgr24", frames=1),
    Original("rows.tiff", "tiff", "rgb24", frames=1),
)


@priority_kept()
def encode(original: Original, path: Path) -> None:
    """Write an original: a bright square that moves over a gradient with a little noise."""
    height, width = original.size
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"fflags": "+bitexact"} | original.container) as container:
        stream = container.add_stream(original.codec, rate=25, options=dict(original.options))
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = original.size
        stream.pix_fmt = original.pixels
        ramp = np.linspace(0, 200, height * width).reshape(height, width, 1)
        for number in range(original.frames):
            picture = (ramp + rng.integers(0, 12, (height, width, 3))).astype(np.uint8)
            picture[height // 4 : height // 2, 2 * number % width : 2 * number % width + 8] = 250
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=original.pixels)
            frame.pts, frame.time_base = original.first_stamp + number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def originals(folder: Path, several: Sequence[Original] = ORIGINALS) -> dict[str, bytes]:
    """The content of originals by their names; `folder` is for making them."""
    made = {}
    for original in several:
        encode(original, folder / original.name)
        made[original.name] = (folder / original.name).read_bytes()
    return made
