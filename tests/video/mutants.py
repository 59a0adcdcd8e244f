"""Videos of many codecs and formats, and what becomes of them when they are damaged: all by a seed."""

import hashlib
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.children import peak_memory, restart_peak_memory
from evatok.data.prepare.scanning import decode_whole
from evatok.video.reading import VideoBytes, VideoError, read_clip
from evatok.video.sources import VideoInfo
from tests.fuzzing import damage
from tests.video.originals import ORIGINALS

MUTANT_BYTES = 2**20  # at most


@dataclass(frozen=True)
class Mutant:
    """A damaged video: its file name, how it was damaged, of which original, and its content."""

    name: str
    kind: str
    original: str
    data: bytes


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


def _header_flipped(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    return damage.flip(data, rng, min(len(data), 600), int(2 ** rng.integers(0, 6)))


def _tail_flipped(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """Where MP4 and its kin have their tables."""
    return damage.flip(data[::-1], rng, min(len(data), 1200), int(2 ** rng.integers(0, 6)))[::-1]


def _other_header(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    other = made[list(made)[int(rng.integers(len(made)))]]
    size = int(rng.integers(8, 1024))
    return other[:size] + data[size if rng.random() < 0.5 else 0 :]


def _spliced(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    other = made[list(made)[int(rng.integers(len(made)))]]
    return data[: int(rng.integers(len(data)))] + other[int(rng.integers(len(other))) :]


def _stamps(data: bytes, name: str, made: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """Time stamps of MP4's tables (steps, shifts, edits) overwritten, also by negative ones."""
    changed = bytearray(data)
    for box in (b"stts", b"ctts", b"elst", b"tfdt", b"trun", b"mdhd", b"mvhd"):
        position = data.find(box)
        if position >= 0 and rng.random() < 0.7:
            at = position + 4 * int(rng.integers(2, 6))
            changed[at : at + 4] = struct.pack(">i", int(rng.integers(-(2**31), 2**31) >> rng.integers(0, 28)))
    if bytes(changed) == data:
        return damage.extreme_numbers(data, rng)
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


def _alone(alone: damage.Damage) -> Damage:
    """A damage that needs nothing but the data."""
    return lambda data, name, made, rng: alone(data, rng)


KINDS: dict[str, Damage] = {
    "unchanged": _alone(damage.unchanged),
    "truncated": _alone(damage.truncated),
    "bits flipped": _alone(damage.flipped),
    "bits of the header flipped": _header_flipped,
    "bits of the end flipped": _tail_flipped,
    "header of another": _other_header,
    "spliced with another": _spliced,
    "part zeroed": _alone(damage.zeroed),
    "part repeated": _alone(damage.repeated),
    "part removed": _alone(damage.removed),
    "parts swapped": _alone(damage.swapped),
    "extreme numbers": _alone(damage.extreme_numbers),
    "time stamps": _stamps,
    "huge picture": _huge_picture,
    "wrong extension": _alone(damage.unchanged),
    "noise": _alone(damage.noise),
}


@dataclass(frozen=True)
class Examined:
    """What a child found out about a file.

    `reason` is why it is bad, as the scanner says; else reading gives `frames` frames, and `same` is whether they are
    the same from a path and from memory. (Decoders may fill what damage left out with whatever is in memory.)
    `memory` is the most bytes that this took over what the child had before.
    """

    reason: str | None
    frames: int
    same: bool
    memory: int
    seconds: float


def examine(path: str) -> Examined:
    """Decode a file as a scan does, then read all its frames, from the file and from memory, as training does.

    AssertionError if what was decoded cannot be read, or not to the frame.
    """
    before, started = restart_peak_memory(), time.perf_counter()
    reason, frames, same = _looked_at(path)
    return Examined(reason, frames, same, peak_memory() - before, time.perf_counter() - started)


def _looked_at(path: str) -> tuple[str | None, int, bool]:
    try:
        found = decode_whole(path)
    except VideoError as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from None
        return error.reason, 0, True
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
        return None, frames, same
    raise AssertionError(f"it has more than {frames} frames")


def _digest(source: str | VideoBytes, start: int, count: int, found: VideoInfo) -> str:
    clip = read_clip(source, start, count)
    assert clip.shape == (count, 3, *found.size), f"frames from {start} on have the shape {tuple(clip.shape)}"
    return hashlib.sha256(clip.numpy().data).hexdigest()
