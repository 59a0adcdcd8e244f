"""The token file: tokens of one or more videos as bytes, laid out as docs/token-file.md says.

Reading trusts nothing: every claim of a header is checked against the bytes that are there before memory is
taken for it, and whatever is wrong raises TokenFileError.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evatok.tokens.bits import pack, packed_size, unpack
from evatok.tokens.records import TICKS, TokenFormat, VideoRecord

MAGIC = b"\x89EVATOK\n"
VERSION = 1
MAX_HEADER = 1 << 24

_START = struct.Struct(">8sHI")
_CHECK = struct.Struct(">I")
_FORMAT_FIELDS = ("levels", "codebook_size", "block_frames", "clip_blocks", "model", "checksum")
_VIDEO_FIELDS = ("frames", "fps", "size", "fit", "times")


class TokenFileError(ValueError):
    """These bytes are no token file that can be read; says why in one sentence."""


def write_tokens(form: TokenFormat, videos: Sequence[VideoRecord], ids: Tensor, lengths: Tensor) -> bytes:
    """The file of these (valid) tokens: ids `(N,)`, lengths `(clips, T)` with 0 for absent blocks."""
    stamps = [b"" if video.times is None else _pack_times(video.times) for video in videos]
    header = {name: getattr(form, name) for name in _FORMAT_FIELDS}
    header["videos"] = [
        {name: getattr(video, name) for name in _VIDEO_FIELDS} | {"times": len(stamp)}
        for video, stamp in zip(videos, stamps, strict=True)
    ]
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER:
        raise ValueError(f"a header of {len(text)} bytes is above {MAX_HEADER}; put the videos in several files")
    packed = zlib.compress(text, 9)
    indices = torch.searchsorted(torch.tensor(form.levels), lengths[lengths > 0])
    body = b"".join(
        [
            _START.pack(MAGIC, VERSION, len(packed)),
            packed,
            *stamps,
            pack(indices, form.level_bits),
            pack(ids, form.id_bits),
        ]
    )
    return body + _CHECK.pack(zlib.crc32(body))


def read_tokens(data: bytes) -> tuple[TokenFormat, tuple[VideoRecord, ...], Tensor, Tensor]:
    """Undo `write_tokens`: format, videos, ids, lengths. Raises TokenFileError."""
    header_size = _read_start(data)
    body = _Cursor(memoryview(data)[_START.size : -_CHECK.size])
    form, entries = _read_header(_inflate(body.take(header_size, "header"), MAX_HEADER, "header"))
    try:
        videos = tuple(_read_video(entry, body) for entry in entries)
        frames = [video.frames for video in videos]
        blocks = sum(form.blocks_of(n) for n in frames)
        # Each block needs a token of at least one bit, so the file's own size bounds all that follows.
        if not videos or blocks > 8 * body.left:
            raise TokenFileError(f"its {body.left} bytes of tokens are too few for its {blocks} blocks")
        indices = unpack(body.take(packed_size(form.level_bits, blocks), "lengths"), form.level_bits, blocks)
        if indices.max() >= len(form.levels):
            raise TokenFileError(f"a block has level number {indices.max()} of {len(form.levels)} levels")
        mask = form.block_mask(frames)
        lengths = torch.zeros(mask.shape, dtype=torch.int64)
        lengths[mask] = torch.tensor(form.levels)[torch.from_numpy(indices)]
        count = int(lengths.sum())
        ids = unpack(body.take(packed_size(form.id_bits, count), "ids"), form.id_bits, count)
        if ids.max() >= form.codebook_size:
            raise TokenFileError(f"it has an id of {ids.max()}; its codebook has {form.codebook_size} codes")
    except TokenFileError:
        raise
    except ValueError as error:
        raise TokenFileError(f"its header is wrong: {error}") from error
    if body.left:
        raise TokenFileError(f"{body.left} bytes are left over after its tokens")
    return form, videos, torch.from_numpy(ids), lengths


class _Cursor:
    """Bytes taken one part after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    @property
    def left(self) -> int:
        return len(self._data)

    def take(self, size: int, what: str) -> memoryview:
        if size > self.left:
            raise TokenFileError(f"it is cut short: {what} should have {size} bytes, {self.left} are left")
        part, self._data = self._data[:size], self._data[size:]
        return part


def _read_start(data: bytes) -> int:
    """Check magic, version and checksum; the header's size."""
    if data[: len(MAGIC)] != MAGIC:
        raise TokenFileError("it is no token file (it does not begin like one)")
    if len(data) < _START.size + _CHECK.size:
        raise TokenFileError(f"it is cut short: {len(data)} bytes are too few for a token file")
    _, version, header_size = _START.unpack_from(data)
    if version != VERSION:
        raise TokenFileError(f"it has format version {version}; this evatok reads version {VERSION}")
    if zlib.crc32(memoryview(data)[: -_CHECK.size]) != _CHECK.unpack_from(data, len(data) - _CHECK.size)[0]:
        raise TokenFileError("it is damaged or cut short (its checksum does not match)")
    return int(header_size)


def _inflate(data: memoryview, limit: int, what: str) -> bytes:
    """Decompress a whole zlib stream of at most `limit` bytes."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise TokenFileError(f"its {what} cannot be decompressed: {error}") from error
    if len(text) > limit or not inflater.eof or inflater.unused_data:
        raise TokenFileError(f"its {what} is not one compressed stream of at most {limit} bytes")
    return text


def _read_header(text: bytes) -> tuple[TokenFormat, list[Any]]:
    try:
        header = json.loads(text)
        values = _fields(header, (*_FORMAT_FIELDS, "videos"), "header")
        levels, videos = values["levels"], values["videos"]
        if not isinstance(levels, list) or not isinstance(videos, list):
            raise TokenFileError("its header's levels and videos must be lists")
        return TokenFormat(tuple(levels), *(values[name] for name in _FORMAT_FIELDS[1:])), videos
    except TokenFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise TokenFileError(f"its header is wrong: {error}") from error


def _read_video(entry: Any, body: _Cursor) -> VideoRecord:
    """One video's record; its time stamps are taken from the body."""
    values = _fields(entry, _VIDEO_FIELDS, "record of a video")
    frames, size, stamp = values["frames"], values["size"], values["times"]
    if not isinstance(size, list) or type(stamp) is not int or stamp < 0:
        raise TokenFileError("its record of a video has a wrong size or times")
    video = VideoRecord(frames, values["fps"], tuple(size), values["fit"])
    if not stamp:
        return video
    times = _unpack_times(body.take(stamp, "time stamps"), frames)
    return VideoRecord(frames, video.fps, video.size, video.fit, times)


def _fields(entry: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(entry, dict) or set(entry) != set(names):
        came = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise TokenFileError(f"its {what} must have the fields {', '.join(names)}; it has {came!s:.200}")
    return entry


def _pack_times(times: Tensor) -> bytes:
    """Steps between time stamps in microseconds, as unsigned 64-bit big-endian integers, compressed."""
    ticks = torch.round(times * TICKS).numpy().astype(np.int64)
    return zlib.compress(np.diff(ticks).astype(">u8").tobytes(), 9)


def _unpack_times(data: memoryview, frames: int) -> Tensor:
    raw = _inflate(data, 8 * (frames - 1), "time stamps")
    if len(raw) != 8 * (frames - 1):
        raise TokenFileError(f"its time stamps have {len(raw)} bytes for {frames} frames")
    steps = np.frombuffer(raw, dtype=">u8")
    ticks = np.concatenate([np.zeros(1), steps.astype(np.float64).cumsum()])
    return torch.from_numpy(ticks / TICKS)
