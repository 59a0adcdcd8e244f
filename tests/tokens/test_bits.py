"""Bit packing: known bytes, round trips of every width, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evatok.tokens.bits import bits_for, pack, packed_size, unpack


def test_known_bytes_most_significant_bit_first() -> None:
    # 101 001 111 000 -> 1010 0111 | 1000 (0000)
    assert pack(np.array([5, 1, 7, 0]), 3) == bytes([0b10100111, 0b10000000])
    assert pack(np.array([0x123, 0xABC]), 12) == bytes([0x12, 0x3A, 0xBC])
    assert pack(np.array([0x01020304]), 32) == bytes([1, 2, 3, 4])
    assert unpack(bytes([0x12, 0x3A, 0xBC]), 12, 2).tolist() == [0x123, 0xABC]


@given(st.data(), st.integers(1, 32))
def test_round_trip(data: st.DataObject, bits: int) -> None:
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    packed = pack(np.array(values, dtype=np.int64), bits)
    assert len(packed) == packed_size(bits, len(values)) == -(-len(values) * bits // 8)
    assert unpack(packed, bits, len(values)).tolist() == values


@pytest.mark.parametrize("bits", [1, 7, 10, 32])
def test_round_trip_beyond_one_chunk(bits: int) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, size=150_001)
    assert np.array_equal(unpack(pack(values, bits), bits, len(values)), values)


def test_no_bits_for_a_single_choice() -> None:
    assert [bits_for(n) for n in (1, 2, 3, 4, 5, 1024, 1025)] == [0, 1, 2, 2, 3, 10, 11]
    assert pack(np.zeros(9, dtype=np.int64), 0) == b""
    assert unpack(b"", 0, 9).tolist() == [0] * 9


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_any_integer_type(dtype: type) -> None:
    assert pack(np.array([1, 2, 3], dtype=dtype), 4) == bytes([0x12, 0x30])


@pytest.mark.parametrize(
    ("values", "bits", "message"),
    [
        ([8], 3, r"\[8, 8\]; 3 bits hold \[0, 7\]"),
        ([-1], 3, r"\[-1, -1\]"),
        ([1], 0, "0 bits hold"),
        ([2**32], 32, "32 bits hold"),
    ],
)
def test_pack_refuses(values: list, bits: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack(np.array(values), bits)
