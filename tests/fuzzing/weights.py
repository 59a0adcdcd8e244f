"""Damage to files of weights, as safetensors lays them out: a document's size, the document, the numbers."""

import json
import math
import struct
from collections.abc import Callable
from typing import Any

from tests.fuzzing import damage
from tests.fuzzing.damage import Rng


def _headers(change: damage.Change) -> damage.Damage:
    """Changes of the document."""

    def change_header(data: bytes, rng: Rng) -> bytes:
        start = _start(data)
        text = damage.json_text(change(json.loads(data[8:start]), rng))
        return struct.pack("<Q", len(text)) + text + data[start:]

    return change_header


def _header_size(data: bytes, rng: Rng) -> bytes:
    size = _start(data) - 8
    sizes = [0, 1, size - 1, size + 1, size + 8, len(data), 2**24, 2**32, 2**63, 2**64 - 1]
    return struct.pack("<Q", damage.pick(sizes, rng)) + data[8:]


def _numbers(data: bytes, rng: Rng) -> bytes:
    """Numbers that are not finite, or so large that what comes of them is not."""
    start, values = _start(data), (math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45)
    changed = bytearray(data)
    for _ in range(int(2 ** rng.integers(0, 6))):
        at = start + 4 * int(rng.integers(max((len(data) - start) // 4, 1)))
        changed[at : at + 4] = struct.pack("<f", damage.pick(values, rng))
    return bytes(changed)


def _tensors(document: Any, rng: Rng) -> Any:
    """Tensors whose type, shape and place do not go together, or are other ones that do."""
    names = [name for name in document if name != "__metadata__"]
    first, second = (damage.pick(names, rng) for _ in range(2))
    entry = document[first]
    start, stop = entry["data_offsets"]
    types = ["F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64"]
    changes: list[Callable[[], dict[str, Any]]] = [
        lambda: {first: document[second], second: entry},
        lambda: {first: entry | {"dtype": damage.pick(types, rng)}},
        lambda: {first: entry | {"shape": [(stop - start) // 2], "dtype": "F16"}},
        lambda: {first: entry | {"shape": entry["shape"][::-1]}},
        lambda: {first: entry | {"shape": [*entry["shape"], 1]}},
        lambda: {first: entry | {"shape": [2**62, 2**62]}},
        lambda: {first: entry | {"data_offsets": [start, 2**62]}},
        lambda: {first: entry | {"data_offsets": [stop, start]}},
        lambda: {f"more {n}": {"dtype": "F32", "shape": [0], "data_offsets": [stop, stop]} for n in range(3000)},
    ]
    return document | damage.pick(changes, rng)()


def _start(data: bytes) -> int:
    return 8 + int(struct.unpack_from("<Q", data)[0])


KINDS: dict[str, damage.Damage] = {
    "bytes": damage.damaged,
    "size of the header": _header_size,
    **{f"header: {name}": _headers(change) for name, change in damage.CHANGES.items()},
    "tensors": _headers(_tensors),
    "numbers": _numbers,
}
