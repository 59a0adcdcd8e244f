"""Packing integers of a fixed width into bytes: the one bit packing of the project.

Bit order is big-endian throughout: a value's most significant bit comes first, the first value starts at the
most significant bit of the first byte, values follow each other without gaps, and zero bits fill the
last byte.
"""

import numpy as np

MAX_BITS = 32
# Values handled at once (a byte for each bit): a multiple of 8, so that each chunk ends at a byte.
_CHUNK = 1 << 16


def bits_for(choices: int) -> int:
    """Bits that tell `choices` different values apart, at least one: ceil(log2(choices)), 0 for a single one."""
    return (choices - 1).bit_length()


def packed_size(bits: int, count: int) -> int:
    """Bytes that `count` values of `bits` bits take."""
    return (bits * count + 7) // 8


def pack(values: np.ndarray, bits: int) -> bytes:
    """Pack integers `(N,)` into `packed_size(bits, N)` bytes; `bits` is at most 32.

    Raises ValueError for values that are not in [0, 2^bits).
    """
    if values.size and (values.min() < 0 or int(values.max()) >> bits):
        raise ValueError(f"values lie in [{values.min()}, {values.max()}]; {bits} bits hold [0, {(1 << bits) - 1}]")
    return b"".join(_pack_chunk(values[i : i + _CHUNK], bits) for i in range(0, values.size, _CHUNK))


def unpack(data: bytes | memoryview, bits: int, count: int) -> np.ndarray:
    """Undo `pack`: `count` values out of `packed_size(bits, count)` bytes, as int64 `(count,)`."""
    packed = np.frombuffer(data, dtype=np.uint8)
    values = np.zeros(count, dtype=np.int64)
    for start in range(0, count, _CHUNK):
        part = values[start : start + _CHUNK]
        first = start * bits // 8
        part[:] = _unpack_chunk(packed[first : first + packed_size(bits, part.size)], bits, part.size)
    return values


def _pack_chunk(values: np.ndarray, bits: int) -> bytes:
    each = np.unpackbits(values.astype(">u4").view(np.uint8).reshape(-1, 4), axis=1)
    return np.packbits(each[:, MAX_BITS - bits :]).tobytes()


def _unpack_chunk(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    each = np.zeros((count, MAX_BITS), dtype=np.uint8)
    each[:, MAX_BITS - bits :] = np.unpackbits(packed, count=count * bits).reshape(count, bits)
    return np.packbits(each, axis=1).view(">u4").reshape(count)
