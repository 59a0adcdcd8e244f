"""Files that claim far more than they hold, and large ones that are right."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.children import in_child, peak_memory
from evatok.tokens.limits import TokenLimits
from evatok.tokens.tokens import TokenFileError, TokenFormat, Tokens, VideoRecord
from tests.tokens.test_tokens import forge

VIDEO = {"frames": 4, "fps": 30, "size": [4, 4], "fit": {}, "times": 0}
FORMAT = {"levels": [1], "codebook_size": 2, "block_frames": 4, "clip_blocks": 4, "model": "m", "checksum": "c"}


def fitted(source: int, size: int = 64) -> dict[str, Any]:
    """What records of a square video say of its picture."""
    fit = {"source": [source] * 2, "size": [size] * 2, "box": [0, 0, source, source], "inner": [0, 0, size, size]}
    return {"size": [source] * 2, "fit": {"mode": "keep", **fit}}


def claim(count: int = 1, body: bytes = bytes(10), form: dict[str, Any] | None = None, **video: Any) -> bytes:
    """A file of so many equal videos, one block of one bit each unless more is claimed."""
    header = {**FORMAT, **(form or {}), "videos": [{**VIDEO, **video}] * count}
    return forge(zlib.compress(json.dumps(header, separators=(",", ":")).encode()), body)


def stamped(frames: int) -> bytes:
    times = zlib.compress(bytes(8 * (frames - 1)), 9)
    return claim(1, times + bytes(300), {"block_frames": 65536}, frames=frames, times=len(times))


def filled(unit: bytes) -> bytes:
    """A file whose header is full of one thing."""
    text = json.dumps(FORMAT)[:-1].encode() + b', "videos": [' + unit * ((2**24 - 1000) // len(unit))
    return forge(zlib.compress(text.removesuffix(b",") + b"]}"))


HOSTILE: list[tuple[Callable[[], bytes], str]] = [
    (lambda: claim(**fitted(10**5)), "pixels of a frame are 10000000000, above the 35389440 of limits.pixels"),
    (lambda: claim(**fitted(2**31)), "above the 35389440 of limits.pixels"),
    (lambda: claim(**fitted(10**4000)), "a side of size"),
    (lambda: claim(**fitted(4, 10**4000)), "a side of the fit's size is 1000"),
    (lambda: claim(frames=10**9), "10 bytes of tokens are too few for its 250000000 blocks"),
    (lambda: claim(1, bytes(2**18 + 1), frames=2**23 + 1), "number of blocks is 2097156, above the 2097152"),
    (lambda: claim(2**15, bytes(2**12), {"clip_blocks": 256}), "number of blocks is 8388608, above"),
    (lambda: claim(150_000, bytes(20_000)), "number of videos is 150000, above the 131072"),
    (lambda: stamped(2**22), "number of time stamps is 4194304, above the 2097152 of limits.times"),
    (lambda: claim(1, bytes(10**6), times=10**6), "0 bytes of tokens are too few"),
    (lambda: claim(form={"levels": list(range(1, 10**6))}), "levels are 999999; there may be at most 256"),
    (lambda: claim(form={"model": "m" * 10**7}), "model is 'mmm"),
    (lambda: claim(fit={str(number): 0 for number in range(10**5)}), "got the entries"),
    (lambda: claim(fit={**fitted(4)["fit"], "box": [0] * 10**6}), "box: got"),
    (lambda: claim(size=[4] * 10**6), "size is"),
    (lambda: claim(1, **{**fitted(5), "size": [4, 5]}), r"fit is of a picture of \(5, 5\); size is \(4, 5\)"),
    (lambda: filled(b"[],"), "more lists, objects or names"),
    (lambda: filled(b"{},"), "more lists, objects or names"),
    (lambda: filled(b'"ab",'), "more lists, objects or names"),
    (lambda: filled(b"1e1,"), "the number of videos is 4"),
    (lambda: filled(b"9"), "4300 digits"),
    (lambda: filled(b"\xf0\x9f\x98\x80"), "header is wrong"),
    (lambda: forge(zlib.compress(b'{"a":' * 10**6)), "more lists, objects or names"),
    (lambda: forge(zlib.compress(b"[" * 10_000)), "header is wrong"),
    (lambda: forge(zlib.compress(bytes(2**26))), "one compressed stream of at most"),
]


@pytest.mark.parametrize(("make", "message"), HOSTILE)
def test_claims_that_are_not_plausible_are_refused_in_a_sentence(make: Callable[[], bytes], message: str) -> None:
    with pytest.raises(TokenFileError, match=message) as refused:
        Tokens.from_bytes(make())
    assert len(str(refused.value)) <= 500


def read_in_little_memory(files: list[bytes]) -> tuple[int, list[int]]:
    """Bytes by which reading files raises this process's peak, and how many videos each had, 0 if it was refused."""
    before, videos = peak_memory(), []
    for data in files:
        try:
            videos.append(len(Tokens.from_bytes(data)))
        except TokenFileError:
            videos.append(0)
    return peak_memory() - before, videos


def test_many_videos_are_read_and_no_file_takes_much_memory() -> None:
    many = claim(100_000, bytes(12_500), **fitted(48, 64))
    files = [filled(b"1e1,"), filled(b"\xf0\x9f\x98\x80"), stamped(2**21), many]
    assert max(map(len, files)) < 100_000
    grown, videos = in_child(read_in_little_memory, files)
    assert videos == [0, 0, 0, 100_000] and grown < 250 * 10**6


def test_a_long_video_of_a_variable_rate_is_read() -> None:
    times = torch.arange(6 * 3600 * 24, dtype=torch.float64) / 24
    times[-1] += 1
    film = VideoRecord(len(times), 24, (4320, 8192), times=times)
    blocks = len(times) // 4
    form = TokenFormat((1, 2), 2, 4, 4, "m", "c")
    tokens = Tokens(form, (film,), torch.ones(blocks).long(), torch.ones(blocks // 4, 4).long())
    assert Tokens.from_bytes(tokens.to_bytes()) == tokens


def test_limits_are_the_reader_s(tmp_path: Path) -> None:
    path = tmp_path / "large.tokens"
    path.write_bytes(claim(2, b"\0", **fitted(6000)))
    for name, limits in (("pixels", TokenLimits()), ("videos", TokenLimits(videos=1, pixels=36_000_000))):
        with pytest.raises(TokenFileError, match=rf"cannot read .*large\.tokens.* of limits\.{name}"):
            Tokens.load(path, limits)
    assert len(Tokens.load(path, TokenLimits(pixels=36_000_000))) == 2
    blocks = claim(1, bytes(50), frames=4 * 400)
    assert Tokens.from_bytes(blocks, TokenLimits(blocks=400)).num_blocks == 400
    with pytest.raises(TokenFileError, match=r"blocks is 400, above the 399 of limits\.blocks"):
        Tokens.from_bytes(blocks, TokenLimits(blocks=399))


@pytest.mark.parametrize("value", [0, -1, 2.0, True, None, "4"])
def test_limits_are_positive_integers(value: Any) -> None:
    with pytest.raises(ValueError, match="pixels must be an integer of at least 1"):
        TokenLimits(pixels=value)


def test_what_is_no_token_file_is_not_read_to_its_end() -> None:
    with pytest.raises(TokenFileError, match="/dev/zero: it is no token file"):
        Tokens.load("/dev/zero")
