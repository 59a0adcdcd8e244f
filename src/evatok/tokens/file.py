"""The token file: tokens of one or more videos as bytes, laid out as docs/token-file.md says.

Reading trusts nothing: every claim of a header is checked against the bytes that are there, and against the reader's
limits, before memory is taken for it; whatever is wrong raises TokenFileError.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evatok.tokens.bits import pack, packed_size, unpack
from evatok.tokens.limits import TokenLimits
from evatok.tokens.records import TICKS, TokenFormat, VideoRecord
from evatok.utils.defaults import with_own_defaults
from evatok.utils.texts import shortened

MAGIC = b"\x89EVATOK\n"
VERSION = 1
MAX_HEADER = 1 << 24

_START = struct.Struct(">8sHI")
_CHECK = struct.Struct(">I")
_FORMAT_FIELDS = ("levels", "codebook_size", "block_frames", "clip_blocks", "model", "checksum")
_VIDEO_FIELDS = ("frames", "fps", "size", "fit", "times")


class TokenFileError(ValueError):
    """These bytes are no token file that can be read; says why in one sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(shortened(sentence))


@with_own_defaults
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
            pack(indices.numpy(), form.level_bits),
            pack(ids.numpy(), form.id_bits),
        ]
    )
    return body + _CHECK.pack(zlib.crc32(body))


@with_own_defaults
def read_tokens(data: bytes, limits: TokenLimits) -> tuple[TokenFormat, tuple[VideoRecord, ...], Tensor, Tensor]:
    """Undo `write_tokens`: format, videos, ids, lengths. Raises TokenFileError."""
    check_magic(data)
    header_size = _read_start(data)
    body = _Cursor(memoryview(data)[_START.size : -_CHECK.size])
    try:
        form, entries = _read_header(_inflate(body.take(header_size, "header"), MAX_HEADER, "header"))
        limits.check("videos", len(entries), "the number of videos is")
        stamps = []
        for number, entry in enumerate(entries):  # in its place, for there may be many
            entries[number], stamp = _read_video(entry)
            stamps.append(stamp)
        _check_claims(form, entries, stamps, body.left, limits)
        videos = tuple(_with_times(video, stamp, body) for video, stamp in zip(entries, stamps, strict=True))
        ids, lengths = _read_ids(form, [video.frames for video in videos], body)
    except TokenFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise TokenFileError(f"its header is wrong: {error}") from error
    if body.left:
        raise TokenFileError(f"{body.left} bytes are left over after its tokens")
    return form, videos, ids, lengths


def check_magic(data: bytes) -> None:
    """TokenFileError where these are not the first bytes of a token file."""
    if data[: len(MAGIC)] != MAGIC:
        raise TokenFileError("it is no token file (it does not begin like one)")


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
    """Check version and checksum; the header's size."""
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
    # What takes most memory for its text: of a video's lists and objects each has 18 bytes or more, of its quotes 5.
    if max(16 * (text.count(b"[") + text.count(b"{")), 4 * text.count(b'"')) > max(len(text), 1 << 20):
        raise TokenFileError("its header has more lists, objects or names than videos need")
    values = _fields(json.loads(text), (*_FORMAT_FIELDS, "videos"), "header")
    levels, videos = values["levels"], values["videos"]
    if not isinstance(levels, list) or not isinstance(videos, list):
        raise TokenFileError("its header's levels and videos must be lists")
    return TokenFormat(tuple(levels), *(values[name] for name in _FORMAT_FIELDS[1:])), videos


def _read_video(entry: Any) -> tuple[VideoRecord, int]:
    """One video's record, as yet without its time stamps, and how many bytes they take."""
    values = _fields(entry, _VIDEO_FIELDS, "record of a video")
    size, stamp = values["size"], values["times"]
    if not isinstance(size, list) or type(stamp) is not int or stamp < 0:
        raise TokenFileError("its record of a video has a wrong size or times")
    return VideoRecord(values["frames"], values["fps"], tuple(size), values["fit"]), stamp


def _check_claims(
    form: TokenFormat, videos: Sequence[VideoRecord], stamps: Sequence[int], left: int, limits: TokenLimits
) -> None:
    """Whether the bytes that are left can hold what records claim, and whether a reader takes as much."""
    if sum(stamps) > left:
        raise TokenFileError(f"it is cut short: time stamps should have {sum(stamps)} bytes, {left} are left")
    blocks = sum(form.blocks_of(video.frames) for video in videos)
    # Each block needs a token of at least one bit, so the file's own size bounds all that follows.
    if not videos or blocks > 8 * (left - sum(stamps)):
        raise TokenFileError(f"its {left - sum(stamps)} bytes of tokens are too few for its {blocks} blocks")
    limits.check("pixels", max(video.size[0] * video.size[1] for video in videos), "the pixels of a frame are")
    clips = sum(form.clips_of(video.frames) for video in videos)
    limits.check("blocks", clips * form.clip_blocks, "the number of blocks is")
    stamped = sum(video.frames for video, stamp in zip(videos, stamps, strict=True) if stamp)
    limits.check("times", stamped, "the number of time stamps is")


def _with_times(video: VideoRecord, stamp: int, body: _Cursor) -> VideoRecord:
    """The record with its time stamps, which are taken from the body if there are any."""
    return replace(video, times=_unpack_times(body.take(stamp, "time stamps"), video.frames)) if stamp else video


def _read_ids(form: TokenFormat, frames: Sequence[int], body: _Cursor) -> tuple[Tensor, Tensor]:
    """Ids and lengths of videos of so many frames."""
    mask = form.block_mask(frames)
    blocks = int(mask.sum())
    indices = unpack(body.take(packed_size(form.level_bits, blocks), "lengths"), form.level_bits, blocks)
    if indices.max() >= len(form.levels):
        raise TokenFileError(f"a block has level number {indices.max()} of {len(form.levels)} levels")
    lengths = torch.zeros(mask.shape, dtype=torch.int64)
    lengths[mask] = torch.tensor(form.levels)[torch.from_numpy(indices)]
    count = int(lengths.sum())
    ids = unpack(body.take(packed_size(form.id_bits, count), "ids"), form.id_bits, count)
    if ids.max() >= form.codebook_size:
        raise TokenFileError(f"it has an id of {ids.max()}; its codebook has {form.codebook_size} codes")
    return torch.from_numpy(ids), lengths


def _fields(entry: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(entry, dict) or entry.keys() != set(names):
        came = ", ".join(entry) if isinstance(entry, dict) else type(entry).__name__
        raise TokenFileError(f"its {what} must have the fields {', '.join(names)}; it has {came:.200}")
    return entry


def _pack_times(times: Tensor) -> bytes:
    """Steps between time stamps in microseconds, as unsigned 64-bit big-endian integers, compressed."""
    ticks = torch.round(times * TICKS).numpy().astype(np.int64)
    return zlib.compress(np.diff(ticks).astype(">u8").tobytes(), 9)


def _unpack_times(data: memoryview, frames: int) -> Tensor:
    raw = _inflate(data, 8 * (frames - 1), "time stamps")
    if len(raw) != 8 * (frames - 1):
        raise TokenFileError(f"its time stamps have {len(raw)} bytes for {frames} frames")
    times = np.zeros(frames)
    np.cumsum(np.frombuffer(raw, dtype=">u8"), dtype=np.float64, out=times[1:])
    times /= TICKS
    return torch.from_numpy(times)
