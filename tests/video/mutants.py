"""Videos of many codecs and formats, and what becomes of them when they are damaged: all by a seed."""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from benchmarks.children import peak_memory
from evatok.data.prepare.scanning import decode_whole
from evatok.video.reading import VideoBytes, VideoError, read_clip
from evatok.video.sources import VideoInfo

FRAMES = 14
MUTANT_BYTES = 2**20  # at most


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


ORIGINALS = (
    Original("h264.mp4", "libx264", options={"g": "5", "bf": "2"}),
    Original("h264-fragments.mp4", "libx264", options={"g": "5"}, container={"movflags": "frag_keyframe+empty_moov"}),
    Original("h264-10bit.mkv", "libx264", "yuv420p10le"),
    Original("h264-interlaced.ts", "libx264", options={"x264-params": "interlaced=1", "flags": "+ildct+ilme"}),
    Original("h264-negative.mov", "libx264", first_stamp=-9, container={"avoid_negative_ts": "disabled"}),
    Original("h264-rgb.mkv", "libx264rgb", "rgb24"),
    Original("h264.flv", "libx264"),
    Original("hevc.mp4", "libx265", options={"x265-params": "log-level=none:pools=none"}),
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
)


@dataclass(frozen=True)
class Mutant:
    """A damaged video: its file name, how it was damaged, of which original, and its content."""

    name: str
    kind: str
    original: str
    data: bytes


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
        for number in range(FRAMES):
            picture = (ramp + rng.integers(0, 12, (height, width, 3))).astype(np.uint8)
            picture[height // 4 : height // 2, 2 * number % width : 2 * number % width + 8] = 250
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=original.pixels)
            frame.pts, frame.time_base = original.first_stamp + number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def originals(folder: Path) -> dict[str, bytes]:
    """The content of all originals by their names; `folder` is for making them."""
    made = {}
    for original in ORIGINALS:
        encode(original, folder / original.name)
        made[original.name] = (folder / original.name).read_bytes()
    return made


def mutants(made: dict[str, bytes], seed: int, count: int) -> list[Mutant]:
    """`count` damaged videos, every kind of damage as often as another; number i is a function of seed and i."""
    return [mutant(made, seed, number) for number in range(count)]


def mutant(made: dict[str, bytes], seed: int, number: int) -> Mutant:
    """Number `number` of a seed's mutants."""
    rng = np.random.default_rng([seed, number])
    kind = list(KINDS)[number % len(KINDS)]
    fitting = [name for name in made if kind != "huge picture" or _sizes(made[name], name)]
    name = fitting[int(rng.integers(len(fitting)))]
    suffix, data = Path(name).suffix, KINDS[kind](made[name], name, made, rng)
    if kind == "wrong extension":
        suffix = [".mp4", ".avi", ".mkv", ".ts", ".gif", ".y4m", ".mpg"][int(rng.integers(7))]
    return Mutant(f"{number:05d}-{Path(name).stem}{suffix}", kind, name, data[:MUTANT_BYTES])


Damage = Callable[[bytes, str, dict[str, bytes], np.random.Generator], bytes]


def _truncated(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def _flipped(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    return _flip(data, rng, len(data), int(2 ** rng.integers(0, 8)))


def _header_flipped(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    return _flip(data, rng, min(len(data), 600), int(2 ** rng.integers(0, 6)))


def _tail_flipped(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """Where MP4 and its kin have their tables."""
    return _flip(data[::-1], rng, min(len(data), 1200), int(2 ** rng.integers(0, 6)))[::-1]


def _flip(data: bytes, rng: np.random.Generator, within: int, bits: int) -> bytes:
    changed = bytearray(data)
    for position in rng.integers(0, within * 8, bits):
        changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


def _other_header(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    other = made[list(made)[int(rng.integers(len(made)))]]
    size = int(rng.integers(8, 1024))
    return other[:size] + data[size if rng.random() < 0.5 else 0 :]


def _spliced(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    other = made[list(made)[int(rng.integers(len(made)))]]
    return data[: int(rng.integers(len(data)))] + other[int(rng.integers(len(other))) :]


def _span(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    size = int(rng.integers(1, max(len(data) // 3, 2)))
    start = int(rng.integers(0, max(len(data) - size, 1)))
    return start, start + size


def _zeroed(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    start, stop = _span(data, rng)
    return data[:start] + bytes(stop - start) + data[stop:]


def _repeated(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    start, stop = _span(data, rng)
    return data[:stop] + data[start:stop] * int(2 ** rng.integers(0, 6)) + data[stop:]


def _removed(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    start, stop = _span(data, rng)
    return data[:start] + data[stop:]


def _swapped(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    (a, b), (c, d) = sorted([_span(data, rng), _span(data, rng)])
    b, c = min(b, c), max(b, c)
    d = max(d, c)
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _extreme_numbers(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """Counts, lengths and time stamps that nobody expects, negative ones among them."""
    changed = bytearray(data)
    values = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x00FFFFFF, 0x10000)
    for _ in range(int(2 ** rng.integers(0, 4))):
        near = min(len(data), 2000)
        position = int(rng.integers(near)) if rng.random() < 0.5 else len(data) - int(rng.integers(1, near + 1))
        order = ">I" if rng.random() < 0.5 else "<I"
        changed[position : position + 4] = struct.pack(order, values[int(rng.integers(len(values)))])
    return bytes(changed[: len(data)])


def _stamps(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """Time stamps of MP4's tables (steps, shifts, edits) overwritten, also by negative ones."""
    changed = bytearray(data)
    for box in (b"stts", b"ctts", b"elst", b"tfdt", b"trun", b"mdhd", b"mvhd"):
        position = data.find(box)
        if position >= 0 and rng.random() < 0.7:
            at = position + 4 * int(rng.integers(2, 6))
            changed[at : at + 4] = struct.pack(">i", int(rng.integers(-(2**31), 2**31) >> rng.integers(0, 28)))
    if bytes(changed) == data:
        return _extreme_numbers(data, name, made, rng)
    return bytes(changed[: len(data)])


def _huge_picture(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """A header that promises 8K or more, and little data behind it."""
    size = [(4320, 7680), (16384, 16384), (65535, 65535), (1, 65535)][int(rng.integers(4))]
    changed = data
    for old, new in _sizes(data, name):
        changed = changed.replace(old, new(size))
    return changed


def _sizes(data: bytes, name: str) -> list[tuple[bytes, Callable[[tuple[int, int]], bytes]]]:
    """Where a file's header has the size of its pictures, and how another is written there."""
    forms: list[tuple[str, Callable[[tuple[int, int]], bytes]]] = [
        (".gif", lambda size: struct.pack("<HH", size[1] & 0xFFFF, size[0] & 0xFFFF)),
        (".y4m", lambda size: b"W%d H%d" % (size[1], size[0])),
        (".avi", lambda size: struct.pack("<II", size[1], size[0])),
        (".wmv", lambda size: struct.pack("<II", size[1], size[0])),
        (".mov", lambda size: struct.pack(">HH", size[1] & 0xFFFF, size[0] & 0xFFFF)),
        (".mp4", lambda size: struct.pack(">HH", size[1] & 0xFFFF, size[0] & 0xFFFF)),
        (".mov", lambda size: struct.pack(">II", size[1], size[0])),
    ]
    known = next(original.size for original in ORIGINALS if original.name == name)
    return [(form(known), form) for suffix, form in forms if name.endswith(suffix) and form(known) in data]


def _noise(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    return data[:16] + rng.bytes(int(rng.integers(1, 4096)))


def _unchanged(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    return data


KINDS: dict[str, Damage] = {
    "unchanged": _unchanged,
    "truncated": _truncated,
    "bits flipped": _flipped,
    "bits of the header flipped": _header_flipped,
    "bits of the end flipped": _tail_flipped,
    "header of another": _other_header,
    "spliced with another": _spliced,
    "part zeroed": _zeroed,
    "part repeated": _repeated,
    "part removed": _removed,
    "parts swapped": _swapped,
    "extreme numbers": _extreme_numbers,
    "time stamps": _stamps,
    "huge picture": _huge_picture,
    "wrong extension": _unchanged,
    "noise": _noise,
}


@dataclass(frozen=True)
class Examined:
    """What a child found out about a file.

    `reason` is why it is bad, as the scanner says; else reading gives `frames` frames, and `same` is whether they are
    the same from a path and from memory. (Decoders may fill what damage left out with whatever is in memory.)
    `memory` is the most that the child has taken so far, in bytes.
    """

    reason: str | None
    frames: int
    same: bool
    memory: int


def examine(path: str) -> Examined:
    """Decode a file as a scan does, then read all its frames, from the file and from memory, as training does.

    AssertionError if what was decoded cannot be read, or not to the frame.
    """
    try:
        found = decode_whole(path)
    except VideoError as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from None
        return Examined(error.reason, 0, True, peak_memory())
    held = VideoBytes(path, Path(path).read_bytes())
    frames, same = found.frames or 0, True
    last = frames - 1
    # One by one: a picture may be large.
    for start in sorted({0, last // 2, last}):
        same = same and _digest(path, start, 1, found) == _digest(held, start, 1, found)
    if frames * found.size[0] * found.size[1] < 2**24:
        same = same and _digest(path, 0, frames, found) == _digest(held, 0, frames, found)
    try:
        read_clip(path, frames, 1)
    except VideoError:
        return Examined(None, frames, same, peak_memory())
    raise AssertionError(f"it has more than {frames} frames")


def _digest(source: str | VideoBytes, start: int, count: int, found: VideoInfo) -> str:
    clip = read_clip(source, start, count)
    assert clip.shape == (count, 3, *found.size), f"frames from {start} on have the shape {tuple(clip.shape)}"
    return hashlib.sha256(clip.numpy().data).hexdigest()
