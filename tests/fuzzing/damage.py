"""Ways to damage bytes, and documents as JSON and YAML hold them; each is a function of what it gets."""

import copy
import json
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import yaml

Rng = np.random.Generator
Damage = Callable[[bytes, Rng], bytes]
Change = Callable[[Any, Rng], Any]


def unchanged(data: bytes, rng: Rng) -> bytes:
    return data


def truncated(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def flipped(data: bytes, rng: Rng) -> bytes:
    return flip(data, rng, len(data), int(2 ** rng.integers(0, 8)))


def flip(data: bytes, rng: Rng, within: int, bits: int) -> bytes:
    """So many bits turned round among the first `within` bytes."""
    changed = bytearray(data)
    for position in rng.integers(0, within * 8, bits):
        changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


def _span(data: bytes, rng: Rng) -> tuple[int, int]:
    size = int(rng.integers(1, max(len(data) // 3, 2)))
    start = int(rng.integers(0, max(len(data) - size, 1)))
    return start, start + size


def zeroed(data: bytes, rng: Rng) -> bytes:
    start, stop = _span(data, rng)
    return data[:start] + bytes(stop - start) + data[stop:]


def repeated(data: bytes, rng: Rng) -> bytes:
    start, stop = _span(data, rng)
    return data[:stop] + data[start:stop] * int(2 ** rng.integers(0, 6)) + data[stop:]


def removed(data: bytes, rng: Rng) -> bytes:
    start, stop = _span(data, rng)
    return data[:start] + data[stop:]


def swapped(data: bytes, rng: Rng) -> bytes:
    (a, b), (c, d) = sorted([_span(data, rng), _span(data, rng)])
    b, c = min(b, c), max(b, c)
    d = max(d, c)
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def extreme_numbers(data: bytes, rng: Rng) -> bytes:
    """Counts, lengths and time stamps that nobody expects, negative ones among them, near the start or the end."""
    changed = bytearray(data)
    values = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x00FFFFFF, 0x10000)
    for _ in range(int(2 ** rng.integers(0, 4))):
        near = min(len(data), 2000)
        position = int(rng.integers(near)) if rng.random() < 0.5 else len(data) - int(rng.integers(1, near + 1))
        order = ">I" if rng.random() < 0.5 else "<I"
        changed[position : position + 4] = struct.pack(order, values[int(rng.integers(len(values)))])
    return bytes(changed[: len(data)])


def noise(data: bytes, rng: Rng) -> bytes:
    return data[:16] + rng.bytes(int(rng.integers(1, 4096)))


DAMAGES: tuple[Damage, ...] = (
    truncated,
    flipped,
    zeroed,
    repeated,
    removed,
    swapped,
    extreme_numbers,
    noise,
)


def damaged(data: bytes, rng: Rng) -> bytes:
    """Bytes damaged in one of the ways that suit any."""
    return pick(DAMAGES, rng)(data, rng) if data else rng.bytes(16)


def pick(several: Any, rng: Rng) -> Any:
    """One of several."""
    return several[int(rng.integers(len(several)))]


# Values that nobody writes where they come to stand; texts `deep-N` become N lists within each other, `long-N` a number
# of N digits: neither can be written as it is.
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 255, 256, 65536, 2**20, 2**31 - 1, 2**31, 2**32, 2**53, 2**63, 2**64),
    *(-(2**31), -(2**63), 10**30, -(10**30), 10**400, 0.5, -0.0, 1e-320, 1e308, -1e308),
    *(float("nan"), float("inf"), float("-inf")),
    *(
        "",
        "0",
        "1e9",
        "-1",
        "nan",
        "null",
        "\n\t\0\x1b[31m",
        "\ud7ff\ufffe\U0010ffff",
        "../" * 30,
        "x" * 300,
        "y" * 10**5,
    ),
    *([], {}, [[]], [None], {"": None}, {"type": "Unknown"}, {"type": []}, [0] * 10**4, [{}] * 100, list(range(300))),
    *([-1, 0, 1], [8, 16], [2**40, 2**41], [64, 64, 64], [1.5], ["a"], {"a": {"b": {"c": 1}}}, {"1": 2}),
    *("deep-20", "deep-100", "deep-5000", "deep-100000", "long-4000", "long-5000", "long-1000000"),
)
_STRANGEST = re.compile(r"""["']?(deep|long)-(\d+)["']?""")


def replaced(document: Any, rng: Rng) -> Any:
    """One to three values replaced by strange ones."""

    def replace(holder: Any, key: Any) -> None:
        holder[key] = copy.deepcopy(pick(STRANGE, rng))

    return _with(document, rng, replace, int(rng.integers(1, 4)))


def nudged(document: Any, rng: Rng) -> Any:
    """One or two values replaced by others that are near them."""

    def nudge(holder: Any, key: Any) -> None:
        value = holder[key]
        near: list[Any] = [[value], {"value": value}, str(value), None]
        if isinstance(value, int | float):
            near += [value + 1, value - 1, -value, value * 2, value * 1000, value / 2, value + 0.5, value * 10**9] * 2
        elif isinstance(value, list):
            near += [value[:-1], value + value, value[::-1], value * 1000, value[0] if value else 0] * 2
        elif isinstance(value, str):
            near += [value[:-1], value + " ", value.upper(), value * 50, f"{value}\n"] * 2
        holder[key] = pick(near, rng)

    return _with(document, rng, nudge, int(rng.integers(1, 3)))


def dropped(document: Any, rng: Rng) -> Any:
    """A value gone."""

    def drop(holder: Any, key: Any) -> None:
        del holder[key]

    return _with(document, rng, drop)


def renamed(document: Any, rng: Rng) -> Any:
    """A key by another name, or a value twice."""

    def rename(holder: Any, key: Any) -> None:
        if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
            return
        names = [f"{key}s", str(key).upper(), "", "type", "x" * 5000, "__class__", "a.b", f"{key}.{key}", "ключ\n"]
        value = holder[key] if rng.random() < 0.3 else holder.pop(key)
        holder[pick(names, rng)] = value

    return _with(document, rng, rename)


def exchanged(document: Any, rng: Rng) -> Any:
    """A value that stands elsewhere too."""
    others = [holder[key] for holder, key in _places(document)]

    def exchange(holder: Any, key: Any) -> None:
        holder[key] = copy.deepcopy(pick(others, rng))

    return _with(document, rng, exchange)


def other(document: Any, rng: Rng) -> Any:
    """Something else altogether."""
    return copy.deepcopy(pick(STRANGE, rng))


CHANGES: dict[str, Change] = {
    "value replaced": replaced,
    "value nudged": nudged,
    "value gone": dropped,
    "key renamed": renamed,
    "values exchanged": exchanged,
    "another document": other,
}


def _with(document: Any, rng: Rng, change: Callable[[Any, Any], None], times: int = 1) -> Any:
    changed = copy.deepcopy(document)
    for _ in range(times):
        if places := _places(changed):
            change(*pick(places, rng))
    return changed


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every container within a document with each of its keys or indices; of long lists the first hundred."""
    found: list[tuple[Any, Any]] = []
    todo = [document]
    while todo:
        holder = todo.pop()
        if isinstance(holder, dict | list):
            keys = list(holder) if isinstance(holder, dict) else list(range(min(len(holder), 100)))
            found += [(holder, key) for key in keys]
            todo += [holder[key] for key in keys]
    return found


def json_text(document: Any) -> bytes:
    """A document as JSON, also such as has no JSON."""
    return _finished(json.dumps(document))


def yaml_text(document: Any) -> bytes:
    """A document as YAML."""
    return _finished(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _finished(text: str) -> bytes:
    return _STRANGEST.sub(_strangest, text).encode(errors="surrogatepass")


def _strangest(found: re.Match[str]) -> str:
    count = int(found[2])
    return "[" * count + "]" * count if found[1] == "deep" else "9" * count
