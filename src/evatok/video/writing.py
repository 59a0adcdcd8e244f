"""Writing video files: frames in a stream, encoded, and put in place in one step."""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import torch
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from torch import Tensor

from evatok.utils.files import replacing
from evatok.video.limits import SMALL_PICTURE
from evatok.video.rate import as_fraction, checked_fps
from evatok.video.scaling import Scaler, to_frame
from evatok.video.sources import StrPath, VideoError, reason_of

_ENCODERS = {
    ".mp4": "libx264",
    ".m4v": "libx264",
    ".mov": "libx264",
    ".mkv": "libx264",
    ".webm": "libvpx-vp9",
}
# Ticks a second: finer than any camera, and what broadcast streams use; Matroska and WebM have their own.
_CLOCK = 90_000
_CLOCKS = {".mkv": 1000, ".webm": 1000}
_COLOURS = {"dst_colorspace": int(Colorspace.ITU709), "dst_color_range": int(ColorRange.MPEG)}


def encoder_of(path: Path) -> str:
    """The encoder for a video file of that name, as FFmpeg calls it; VideoError where its ending is none of a video."""
    if path.suffix.lower() not in _ENCODERS:
        known = ", ".join(_ENCODERS)
        raise VideoError(f"cannot write video '{path}': its name ends in '{path.suffix}', not in one of {known}")
    return _ENCODERS[path.suffix.lower()]


def write_video(
    path: StrPath,
    frames: Tensor | Iterable[Tensor],
    *,
    fps: float,
    times: Tensor | Iterable[float] | None = None,
    size: tuple[int, int] | None = None,
    pixel_aspect: Fraction = Fraction(1),
    crf: int = 17,
) -> None:
    """Write uint8 RGB frames to a video file: H.264 in .mp4, .m4v, .mov or .mkv, VP9 in .webm.

    Args:
        path: replaced in one step when everything has been written; on an error nothing is left behind.
        frames: (F, 3, H, W), or a stream of (3, H, W) and (n, 3, H, W), all of one size. Memory does not
            grow with the video's length.
        fps: frames per second, 0.0001 to 1,000,000 (.mkv and .webm: 1,000); where `times` is given, only the last
            frame's duration.
        times: seconds at which each frame is shown, strictly increasing; the first frame's is taken as 0.
            They are kept to 1/90000 s (.mkv and .webm: 1 ms), and are that far apart at least.
        size: (height, width) that each frame is resized to while it is encoded, area-averaged when it shrinks, else
            bicubic. It costs next to nothing.
        pixel_aspect: width to height of a pixel as it is to be shown; .webm does not keep it.
        crf: the encoder's constant quality, 0 (best) to 51. Chroma is halved (4:2:0) where both sides are
            even; odd sides keep their size, and full chroma.

    Raises VideoError if the file cannot be written or there is no frame; ValueError: wrong shapes, times or
    values; TypeError: frames that are not uint8.
    """
    target, encoder = Path(path), encoder_of(Path(path))
    if not 0 <= crf <= 51:
        raise ValueError(f"crf: got {crf}; it may be 0 to 51")
    rate, clock = as_fraction(checked_fps(fps)), _CLOCKS.get(target.suffix.lower(), _CLOCK)
    if times is None and rate > clock and target.suffix.lower() in _CLOCKS:
        raise ValueError(f"fps: got {fps:g}; '{target.suffix}' keeps times to 1/{clock} s, .mp4 and .mov keep more")
    stamped = _stamped(frames, rate, times, clock)
    try:
        with replacing(target) as temporary:
            first = next(stamped, None)
            if first is None:
                raise VideoError(f"cannot write video '{target}': there are no frames to write")
            _encode(temporary, first, stamped, encoder, rate, times is not None, size, pixel_aspect, crf)
    except (FFmpegError, OSError) as error:
        raise VideoError(f"cannot write video '{target}': {reason_of(error)}") from error


def _pictures(frames: Tensor | Iterable[Tensor]) -> Iterator[Tensor]:
    """Single frames (3, H, W) of one size, checked."""
    size: torch.Size | None = None
    for piece in (frames,) if hasattr(frames, "shape") else frames:
        if not isinstance(piece, Tensor) or piece.dtype != torch.uint8:
            raise TypeError(f"frames: got {getattr(piece, 'dtype', type(piece).__name__)}; they are uint8 tensors")
        if piece.ndim not in (3, 4) or piece.shape[-3] != 3 or 0 in piece.shape[-2:]:
            raise ValueError(f"frames: got the shape {tuple(piece.shape)}; it may be (3, H, W) or (n, 3, H, W)")
        size = piece.shape[-2:] if size is None else size
        if piece.shape[-2:] != size:
            raise ValueError(f"frames: got the size {tuple(piece.shape[-2:])} after {tuple(size)}; all have one size")
        yield from piece if piece.ndim == 4 else (piece,)


def _stamped(
    frames: Tensor | Iterable[Tensor], rate: Fraction, times: Tensor | Iterable[float] | None, clock: int
) -> Iterator[tuple[Tensor, int, int, Fraction]]:
    """Frames with their stamp, duration and the unit of both in seconds."""
    if times is None:
        for stamp, picture in enumerate(_pictures(frames)):
            yield picture, stamp, 1, 1 / rate
        return
    unit = Fraction(1, clock)
    seconds = iter(times.tolist() if isinstance(times, Tensor) else times)
    first = last = 0.0
    held: tuple[Tensor, int] | None = None
    for picture in _pictures(frames):
        time = next(seconds, None)
        if time is None:
            raise ValueError("times: got fewer than there are frames; there is one for each")
        if held is None:
            first, stamp = time, 0
        elif not last < time < math.inf:
            raise ValueError(f"times: got {time} s after {last} s; they strictly increase")
        else:
            # Times that are nearer to each other than ticks are a tick apart.
            stamp = max(round((time - first) * clock), held[1] + 1)
            yield *held, stamp - held[1], unit
        held, last = (picture, stamp), time
    if next(seconds, None) is not None:
        raise ValueError("times: got more than there are frames; there is one for each")
    if held is not None:
        yield *held, max(1, round(clock / rate)), unit


def _encode(
    path: Path,
    first: tuple[Tensor, int, int, Fraction],
    others: Iterator[tuple[Tensor, int, int, Fraction]],
    encoder: str,
    rate: Fraction,
    timed: bool,
    size: tuple[int, int] | None,
    pixel_aspect: Fraction,
    crf: int,
) -> None:
    height, width = size or first[0].shape[-2:]
    options = {"crf": str(crf)}
    if encoder == "libx264":
        # Reordered frames at irregular times would make the container's durations, and so its rate, wrong.
        options |= {"bf": "0"} if timed else {}
        # Macroblock trees make libx264's choices for small pictures differ between runs.
        options |= {"mbtree": "0"}
        # At most half the time of `veryfast` at about its quality; files are a quarter larger, of film twice as large.
        options |= {"preset": "ultrafast"}
    else:
        options |= {"b": "0", "cpu-used": "4", "row-mt": "1"}
    muxing = {"movflags": "+faststart"} if encoder == "libx264" and path.suffix.lower() != ".mkv" else {}
    with av.open(f"file:{path}", "w", options=muxing) as container:
        stream = container.add_stream(encoder, rate=rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
        context = stream.codec_context
        context.time_base = first[3]
        context.sample_aspect_ratio = pixel_aspect
        context.thread_count = 1 if height * width <= SMALL_PICTURE else 0
        # Said in full, so that no player has to guess: BT.709, limited range.
        context.colorspace = context.color_primaries = context.color_trc = int(Colorspace.ITU709)
        context.color_range = int(ColorRange.MPEG)
        scaler = Scaler()
        for picture, stamp, duration, unit in chain([first], others):
            frame = scaler.frame(to_frame(picture), size, stream.pix_fmt, **_COLOURS)
            frame.pts, frame.duration, frame.time_base = stamp, duration, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
