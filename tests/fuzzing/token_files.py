"""Token files, damaged with their checksum mended; read, and decoded by the model that their originals are of."""

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from evatok.codec.files import decode_file
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.bits import bits_for, packed_size
from evatok.tokens.tokens import Tokens
from tests.conftest import IN_PASSES, MINI, random_tokenizer
from tests.fuzzing import damage
from tests.fuzzing.damage import Rng

MODELS = {"paper": MINI, "passes": IN_PASSES}
# Of what a file claims: videos, frames, and pixels of all frames together that are decoded.
_VIDEOS, _FRAMES, _PIXELS = 3, 40, 2**21
_START = struct.Struct(">8sHI")
_FORMAT = ("levels", "codebook_size", "block_frames", "clip_blocks", "model", "checksum")


class Parts(NamedTuple):
    """A token file in parts: the document of its header, the streams of time stamps, and what follows."""

    header: Any
    stamps: list[bytes]
    payload: bytes


def prepare(folder: Path) -> None:
    """Models, and tokens that each has made of several videos."""
    generator = torch.Generator().manual_seed(0)
    for name, config in MODELS.items():
        random_tokenizer(config).save_pretrained(folder / name)
        model = VideoTokenizer.from_pretrained(folder / name)

        def encoded(*shape: int, model: VideoTokenizer = model, **options: Any) -> Tokens:
            return model.encode(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8), **options)

        fixed, tall = encoded(1, 21, 3, 36, 64, fps=30.0), encoded(1, 5, 3, 64, 40, fit="letterbox")
        times = torch.rand(21, generator=generator, dtype=torch.float64).cumsum(0)
        videos = (replace(fixed.videos[0], times=times - times[0]),)
        irregular = Tokens(fixed.format, videos, fixed.ids, fixed.lengths)
        made = {
            "fixed": fixed,
            "picture": encoded(1, 1, 3, 32, 32, fit="crop"),
            "several": Tokens.cat([encoded(3, 18, 3, 32, 48), tall, fixed]),
            "irregular": irregular,
            "both": Tokens.cat([irregular, tall]),
        }
        for kind, tokens in made.items():
            tokens.save(folder / f"{name}-{kind}.tokens")


def place(folder: Path, target: Path, kind: str, rng: Rng) -> None:
    """One of the token files, damaged."""
    names = sorted(path.name for path in folder.glob("*.tokens"))
    if kind == "time stamps":
        names = [name for name in names if name.endswith(("-irregular.tokens", "-both.tokens"))]
    name = damage.pick(names, rng)
    (target / name).write_bytes(KINDS[kind]((folder / name).read_bytes(), rng))


def use(folder: Path, target: Path) -> set[str]:
    """Reads a file, makes it anew, and decodes some of its frames; into a video too where there are few."""
    path = next(target.iterdir())
    tokens = Tokens.load(path)
    assert repr(tokens)
    assert Tokens.from_bytes(tokens.to_bytes()) == tokens
    name = path.name.partition("-")[0]
    model = _model(folder / name)
    if sum(video.frames * video.size[0] * video.size[1] for video in tokens.videos) < _PIXELS:
        several = model.decode(tokens) if len({(video.frames, video.size) for video in tokens.videos}) == 1 else None
        assert several is None or len(several) == len(tokens)
        if len(tokens) == 1:
            decode_file(path, target / "video.mp4", str(folder / name))
            return {"video.mp4"}
    for video in islice(tokens, _VIDEOS):
        for frame in islice(model.decode_stream(video), _FRAMES):
            assert frame.shape[0] == 3
    return set()


@cache
def _model(folder: Path) -> VideoTokenizer:
    return VideoTokenizer.from_pretrained(folder)


def split(data: bytes) -> Parts:
    """The parts of an undamaged file."""
    size = _START.unpack_from(data)[2]
    header, body = json.loads(zlib.decompress(data[_START.size : _START.size + size])), data[_START.size + size : -4]
    stamps = []
    for video in header["videos"]:
        stamps.append(body[: video["times"]])
        body = body[video["times"] :]
    return Parts(header, stamps, body)


def joined(header: bytes, *rest: bytes) -> bytes:
    """A file of a header, compressed, and of what follows it, with a checksum that fits."""
    return mended(_START.pack(b"\x89EVATOK\n", 1, len(header)) + header + b"".join(rest))


def mended(body: bytes) -> bytes:
    """A file with a checksum that fits."""
    return body + struct.pack(">I", zlib.crc32(body))


def _documents(change: Callable[[Any, Rng], Any]) -> damage.Damage:
    """Changes of the header's document, where its streams stay as they are."""

    def change_header(data: bytes, rng: Rng) -> bytes:
        parts = split(data)
        text = damage.json_text(change(parts.header, rng))
        return joined(zlib.compress(text), *parts.stamps, parts.payload)

    return change_header


def _of_format(header: Any, rng: Rng) -> Any:
    part = {name: header[name] for name in _FORMAT}
    return header | damage.pick((damage.replaced, damage.nudged), rng)(part, rng)


def _of_videos(header: Any, rng: Rng) -> Any:
    change = damage.pick((damage.replaced, damage.nudged, damage.exchanged, damage.dropped), rng)
    return header | {"videos": change(header["videos"], rng)}


def _of_fit(header: Any, rng: Rng) -> Any:
    """Pictures and boxes of other sizes, in which a fit may still agree with itself."""
    sides = [0, 1, 7, 8, 32, 40, 64, 4096, 2**13, 2**16, 2**20, 2**31 - 1, 2**40]
    height, width = (damage.pick(sides, rng) for _ in range(2))
    videos = [dict(video) for video in header["videos"]]
    for video in videos:
        fit = dict(video["fit"])
        if rng.random() < 0.6:
            fit |= {"size": [height, width], "inner": [0, 0, height, width]}
        if rng.random() < 0.6:
            fit |= {"source": [height, width], "box": [0, 0, height, width]}
        video |= {"fit": fit, "size": [height, width] if rng.random() < 0.5 else video["size"]}
    return header | {"videos": videos}


def _of_frames(header: Any, rng: Rng) -> Any:
    counts = [1, 2, 4, 5, 16, 17, 100, 4096, 2**20, 2**30, 2**40, 2**53, 2**53 + 1]
    return header | {"videos": [video | {"frames": damage.pick(counts, rng)} for video in header["videos"]]}


def _many_videos(header: Any, rng: Rng) -> Any:
    return header | {"videos": header["videos"] * int(2 ** rng.integers(1, 18))}


def _header_text(data: bytes, rng: Rng) -> bytes:
    parts = split(data)
    text = damage.damaged(damage.json_text(parts.header), rng)
    return joined(zlib.compress(text), *parts.stamps, parts.payload)


def _header_stream(data: bytes, rng: Rng) -> bytes:
    """A header that is no stream, one that lies about its size, or one that grows a thousandfold."""
    parts = split(data)
    text = damage.json_text(parts.header)
    streams = [
        lambda: damage.damaged(zlib.compress(text), rng),
        lambda: zlib.compress(text) + rng.bytes(9),
        lambda: zlib.compress(text)[:-3],
        lambda: text,
        lambda: zlib.compress(text + b" " * 2**24, 1),
        lambda: zlib.compress(text[:-1] + b" " * (2**24 - 2**10) + text[-1:], 1),
        lambda: _bomb(),
        lambda: zlib.compress(b"[" * 2**20),
        lambda: zlib.compress(b'{"a":' * 10**5 + b"1" + b"}" * 10**5),
        lambda: zlib.compress(b"[" + b"[]," * 2**22 + b"0]", 1),
        lambda: b"",
    ]
    header = damage.pick(streams, rng)()
    whole = joined(header, *parts.stamps, parts.payload)
    if rng.random() < 0.3:
        sizes = [0, 1, max(len(header) - 1, 0), len(header) + 1, len(whole), 2**31, 2**32 - 1]
        whole = mended(_START.pack(whole[:8], 1, damage.pick(sizes, rng)) + whole[_START.size : -4])
    return whole


def _stamps(data: bytes, rng: Rng) -> bytes:
    """Time stamps of other counts, order and size."""
    parts = split(data)
    records = zip(parts.header["videos"], parts.stamps, strict=True)
    changed = [_stamp(stamp, video["frames"] - 1, rng) for video, stamp in records]
    sizes = [len(stamp) if rng.random() < 0.9 else damage.pick([0, -1, 1, 2**40, True, None], rng) for stamp in changed]
    videos = [video | {"times": size} for video, size in zip(parts.header["videos"], sizes, strict=True)]
    header = damage.json_text(parts.header | {"videos": videos})
    return joined(zlib.compress(header), *changed, parts.payload)


def _stamp(stamp: bytes, count: int, rng: Rng) -> bytes:
    """The time stamps of a video of one frame more than `count`."""
    if not count:
        return stamp
    steps = [0, 1, 40_000, 2**31, 2**52, 2**53, 2**63, 2**64 - 1]
    streams: list[Callable[[], bytes]] = [
        lambda: damage.damaged(stamp, rng),
        lambda: zlib.compress(struct.pack(f">{count}Q", *(damage.pick(steps, rng) for _ in range(count)))),
        lambda: zlib.compress(bytes(8 * count + damage.pick([-8, -1, 1, 8], rng))),
        lambda: _bomb(),
        lambda: stamp,
    ]
    return bytes(damage.pick(streams, rng)())


@cache
def _bomb() -> bytes:
    """A few bytes that become 64 MiB."""
    return zlib.compress(bytes(2**26))


def _payload(data: bytes, rng: Rng) -> bytes:
    """Other lengths of blocks and other ids."""
    parts = split(data)
    payload = damage.pick((damage.flipped, damage.zeroed, damage.swapped, damage.repeated), rng)(parts.payload, rng)
    payload = payload[: len(parts.payload)] if rng.random() < 0.7 else payload
    return joined(zlib.compress(damage.json_text(parts.header)), *parts.stamps, payload)


def _long(data: bytes, rng: Rng) -> bytes:
    """Many frames, of the fewest tokens and bytes that can be said of them."""
    header, _, _ = split(data)
    frames = int(2 ** rng.uniform(4, 20))
    header |= {"videos": [header["videos"][0] | {"frames": frames, "times": 0}]}
    if rng.random() < 0.3:
        header |= {"codebook_size": 2, "levels": [1], "block_frames": 1}
    blocks = -(-frames // header["block_frames"])
    bits = [bits_for(len(header["levels"])), bits_for(header["codebook_size"]) * header["levels"][0]]
    return joined(zlib.compress(damage.json_text(header)), *(bytes(packed_size(each, blocks)) for each in bits))


KINDS: dict[str, damage.Damage] = {
    "unchanged": damage.unchanged,
    "bytes": damage.damaged,
    "bytes, checksum mended": lambda data, rng: mended(damage.damaged(data[:-4], rng)),
    "text of the header": _header_text,
    "stream of the header": _header_stream,
    **{f"header: {name}": _documents(change) for name, change in damage.CHANGES.items()},
    "header: format": _documents(_of_format),
    "header: videos": _documents(_of_videos),
    "header: fit": _documents(_of_fit),
    "header: frames": _documents(_of_frames),
    "header: many videos": _documents(_many_videos),
    "time stamps": _stamps,
    "lengths and ids": _payload,
    "a long video": _long,
}
