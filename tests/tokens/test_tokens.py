"""Tokens: agreement of their parts, views, and the file that they are stored in."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evatok.tokens.tokens import TokenFileError, TokenFormat, Tokens, VideoRecord

FIT = {
    "mode": "letterbox",
    "source": (1080, 1920),
    "size": (64, 64),
    "box": (0, 0, 1080, 1920),
    "inner": (14, 0, 36, 64),
}
FORM = TokenFormat((2, 4, 8), 1000, block_frames=4, clip_blocks=2, model="a-model", checksum="ab" * 32)


def make(form: TokenFormat, frames: list[int], seed: int = 0, times: bool = False) -> Tokens:
    """Random tokens of videos of so many frames; the layout of clips is worked out block by block."""
    generator = torch.Generator().manual_seed(seed)
    rows, videos = [], []
    for n in frames:
        starts = list(range(0, n, form.block_frames))
        for first in range(0, len(starts), form.clip_blocks):
            here = len(starts[first : first + form.clip_blocks])
            levels = torch.randint(len(form.levels), (here,), generator=generator).tolist()
            rows.append([form.levels[i] for i in levels] + [0] * (form.clip_blocks - here))
        stamps = torch.rand(n, generator=generator, dtype=torch.float64).cumsum(0) if times else None
        videos.append(VideoRecord(n, 29.97, (1080, 1920), FIT, None if stamps is None else stamps - stamps[0]))
    count = sum(map(sum, rows))
    ids = torch.randint(form.codebook_size, (count,), generator=generator)
    return Tokens(form, tuple(videos), ids, torch.tensor(rows))


def two_videos() -> Tokens:
    """9 frames: two clips, the second of one block; 4 frames: one clip of one block."""
    videos = (VideoRecord(9, 3.0, (6, 8)), VideoRecord(4, 2.0, (5, 5)))
    return Tokens(FORM, videos, torch.arange(16), torch.tensor([[2, 4], [8, 0], [2, 0]]))


def test_clips_and_videos() -> None:
    tokens = two_videos()
    assert (len(tokens), tokens.num_clips, tokens.num_blocks, tokens.num_tokens) == (2, 3, 4, 16)
    assert tokens.clip_starts.tolist() == [0, 6, 14]
    assert tokens.clip_ids(1).tolist() == list(range(6, 14))
    assert tokens.clip_ids(-1).tolist() == [14, 15]
    assert tokens.assignments == ("2,4", "8", "2")
    assert [part.ids.tolist() for part in tokens] == [list(range(14)), [14, 15]]
    assert tokens[1].lengths.tolist() == [[2, 0]]
    assert tokens[-1].videos == (tokens.videos[1],)
    assert Tokens.cat(list(tokens)) == tokens
    assert (tokens.ids.dtype, tokens.lengths.dtype) == (torch.int32, torch.int64)
    for out in (2, -3):
        with pytest.raises(IndexError):
            tokens[out]
    with pytest.raises(IndexError):
        tokens.clip_ids(3)


def test_size_and_rate() -> None:
    tokens = two_videos()
    assert tokens.bits() == 16 * 10 + 4 * 2
    assert tokens.seconds == 9 / 3 + 4 / 2
    assert tokens.tokens_per_second() == 16 / 5
    said = "Tokens(2 videos, 3 clips, 13 frames, 5.00 s, 16 tokens, 3.2 tokens/s, 168 bits, model 'a-model')"
    assert repr(tokens) == said


def test_seconds_of_a_variable_rate() -> None:
    record = VideoRecord(3, 2.0, (6, 8), times=torch.tensor([0.0, 0.25, 2.0]))
    assert record.seconds == 2.5


def test_pad_to() -> None:
    tokens = two_videos()
    assert tokens.pad_to().shape == (3, 8)
    padded = tokens.pad_to(9, value=-100)
    assert padded[2].tolist() == [14, 15] + [-100] * 7
    assert padded[1].tolist() == [*range(6, 14), -100]
    with pytest.raises(ValueError, match="length is 7; the longest clip has 8 tokens"):
        tokens.pad_to(7)


def test_equality_sees_every_part() -> None:
    tokens = make(FORM, [9, 4], times=True)
    assert tokens == make(FORM, [9, 4], times=True)
    ids = tokens.ids.clone()
    ids[3] ^= 1
    assert tokens != Tokens(FORM, tokens.videos, ids, tokens.lengths)
    others = {"model": "b", "codebook_size": 1001, "levels": (2, 4, 8, 16)}
    for name, value in others.items():
        form = TokenFormat(**{**vars(FORM), name: value})
        assert tokens != Tokens(form, tokens.videos, tokens.ids, tokens.lengths)
    record = vars(tokens.videos[0])
    fits = [FIT | {"inner": (0, 0, 36, 64)}, FIT | {"source": (1090, 1920)}]
    also: dict[str, Any] = {"frames": {"times": torch.arange(10.0)}, "size": {"fit": fits[1]}}
    changes = {"frames": 10, "fps": 30.0, "size": (1090, 1920), "fit": fits[0], "times": None}
    for name, value in changes.items():
        changed = {**record, name: value} | also.get(name, {})
        assert tokens.videos[0] != VideoRecord(**changed)


def test_cat_refuses_other_formats() -> None:
    other = TokenFormat(FORM.levels, FORM.codebook_size, 4, 2, "another", FORM.checksum)
    with pytest.raises(ValueError, match="different formats"):
        Tokens.cat([two_videos(), make(other, [4])])
    with pytest.raises(ValueError, match="no tokens"):
        Tokens.cat([])


@pytest.mark.parametrize(
    ("ids", "lengths", "message"),
    [
        (range(16), [[2, 4], [8, 0]], r"lengths have shape \(2, 2\); the videos need \(3, 2\)"),
        (range(16), [[2, 4], [8, 2], [0, 0]], "block 1 of clip 1 is past the video's end but has 2"),
        (range(16), [[2, 0], [8, 4], [2, 0]], "block 1 of clip 0 exists but has 0 tokens"),
        (range(17), [[2, 5], [8, 0], [2, 0]], "a block of 5 tokens; the levels are"),
        (range(8), [[2, -4], [8, 0], [2, 0]], "a block of -4 tokens"),
        (range(15), [[2, 4], [8, 0], [2, 0]], "there are 15 ids; the lengths add up to 16"),
        (range(985, 1001), [[2, 4], [8, 0], [2, 0]], r"ids lie in \[985, 1000\]"),
        (range(-1, 15), [[2, 4], [8, 0], [2, 0]], r"ids lie in \[-1, 14\]"),
        ([0.5] * 16, [[2, 4], [8, 0], [2, 0]], "ids are torch.float32"),
        ([range(16)], [[2, 4], [8, 0], [2, 0]], "ids are torch.int64"),
    ],
)
def test_parts_must_agree(ids: Any, lengths: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tokens(FORM, two_videos().videos, torch.tensor(ids), torch.tensor(lengths))


def test_at_least_one_video() -> None:
    with pytest.raises(ValueError, match="at least one video"):
        Tokens(FORM, (), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("levels", ()),
        ("levels", (4, 2)),
        ("levels", (0, 2)),
        ("levels", (2.0, 4)),
        ("codebook_size", 1),
        ("codebook_size", True),
        ("block_frames", 0),
        ("clip_blocks", 257),
        ("model", 3),
        ("model", "m" * 201),
        ("checksum", None),
    ],
)
def test_format_refuses(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name.removesuffix("s")):
        TokenFormat(**{**vars(FORM), name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frames", 0),
        ("frames", 2.0),
        ("fps", 0.0),
        ("fps", float("nan")),
        ("fps", float("inf")),
        ("fps", "30"),
        ("size", (0, 4)),
        ("size", (4, 4, 3)),
        ("fit", [1]),
        ("fit", {"a": float("nan")}),
        ("fit", {"a": object()}),
        ("fit", FIT),
        ("times", torch.tensor([0.0, 1.0])),
        ("times", torch.tensor([0.0, 2.0, 1.0])),
        ("times", torch.tensor([1.0, 2.0, 3.0])),
        ("times", torch.tensor([0.0, 1.0, float("inf")])),
        ("times", torch.tensor([0.0, float("nan"), 1.0])),
    ],
)
def test_record_refuses(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        VideoRecord(**{"frames": 3, "fps": 30.0, "size": (4, 4), name: value})


formats = st.builds(
    TokenFormat,
    levels=st.lists(st.integers(1, 9), min_size=1, max_size=5, unique=True).map(lambda ks: tuple(sorted(ks))),
    codebook_size=st.one_of(st.integers(2, 20), st.sampled_from([1024, 16384, 2**31])),
    block_frames=st.integers(1, 5),
    clip_blocks=st.integers(1, 5),
    model=st.text(max_size=20),
    checksum=st.just("c" * 64),
)


@settings(max_examples=40, deadline=None)
@given(formats, st.lists(st.integers(1, 70), min_size=1, max_size=3), st.booleans(), st.integers(0, 9))
def test_file_round_trip(form: TokenFormat, frames: list[int], times: bool, seed: int) -> None:
    tokens = make(form, frames, seed, times)
    data = tokens.to_bytes()
    assert Tokens.from_bytes(data) == tokens
    if not times and len(frames) == 1:
        assert len(data) <= tokens.bits() / 8 + 1024


def test_size_beside_the_tokens_does_not_grow_with_length() -> None:
    form = TokenFormat((32, 64, 128, 256, 512), 16384, 4, 4, "m" * 200, "c" * 200)
    beside = []
    for frames in (1, 16, 20_000):
        tokens = make(form, [frames])
        beside.append(len(tokens.to_bytes()) - tokens.bits() / 8)
    assert max(beside) <= 600
    assert max(beside) - min(beside) <= 16


def test_time_stamps_come_back_to_the_microsecond() -> None:
    times = torch.tensor([0, 33367, 66733, 100100, 4_000_000_000_123], dtype=torch.float64) / 1e6
    record = VideoRecord(5, 1.0, (4, 4), times=times + 2e-7 * torch.tensor([0, 1, 1, 1, 1]))
    tokens = Tokens(FORM, (record,), torch.arange(4), torch.tensor([[2, 2]]))
    back = Tokens.from_bytes(tokens.to_bytes()).videos[0].times
    assert back is not None and torch.equal(back, times)


# ---- files that are wrong


GOOD = make(FORM, [23, 5], times=True).to_bytes()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_flipped_bits_are_noticed(data: st.DataObject) -> None:
    damaged = bytearray(GOOD)
    for place in data.draw(st.sets(st.integers(0, 8 * len(GOOD) - 1), min_size=1, max_size=8)):
        damaged[place // 8] ^= 1 << place % 8
    with pytest.raises(TokenFileError):
        Tokens.from_bytes(bytes(damaged))


def test_every_truncation_and_any_appendix_is_noticed() -> None:
    for size in range(len(GOOD)):
        with pytest.raises(TokenFileError):
            Tokens.from_bytes(GOOD[:size])
    with pytest.raises(TokenFileError):
        Tokens.from_bytes(GOOD + b"\0")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_with_a_right_checksum(junk: bytes, compressed: bool) -> None:
    """What a checksum cannot catch: a file made to look right."""
    with pytest.raises(TokenFileError):
        Tokens.from_bytes(forge(zlib.compress(junk) if compressed else junk))


def forge(header: bytes, body: bytes = b"\0" * 40, version: int = 1) -> bytes:
    start = b"\x89EVATOK\n" + struct.pack(">HI", version, len(header)) + header + body
    return start + struct.pack(">I", zlib.crc32(start))


def lie(body: bytes = b"\x07\x09", **changes: Any) -> bytes:
    """A file of one block of two 8-bit ids (a single level takes no bits), its header changed."""
    video = {"frames": 4, "fps": 30, "size": [4, 4], "fit": {}, "times": 0}
    header = {
        "levels": [2],
        "codebook_size": 256,
        "block_frames": 4,
        "clip_blocks": 1,
        "model": "m",
        "checksum": "c",
        "videos": [video],
    }
    for name, value in changes.items():
        (video if name in video else header)[name] = value
    return forge(zlib.compress(json.dumps(header).encode()), body)


def test_the_documented_layout_is_read() -> None:
    tokens = Tokens.from_bytes(lie())
    assert tokens.ids.tolist() == [7, 9]
    assert tokens.videos == (VideoRecord(4, 30.0, (4, 4)),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 10**15}, "too few for its"),
        ({"frames": 8}, "cut short"),
        ({"frames": 0}, "frames is 0"),
        ({"frames": "4"}, "frames is '4'"),
        ({"frames": 10**300}, "frames is 1000"),
        ({"fps": 10**400}, "fps is"),
        ({"fps": None}, "fps is None"),
        ({"size": 4}, "wrong size"),
        ({"size": [4, "4"]}, "side of size"),
        ({"fit": None}, "fit is None"),
        ({"times": -1}, "times"),
        ({"times": 1.0}, "times"),
        ({"times": 1}, "time stamps is not one compressed stream"),
        ({"times": 2}, "0 bytes of tokens are too few"),
        ({"times": 10**12}, "time stamps should have 1000000000000 bytes"),
        ({"levels": [1]}, "left over"),
        ({"levels": [10**6]}, "cut short"),
        ({"levels": [2, 1]}, "levels"),
        ({"levels": 2}, "must be lists"),
        ({"levels": [[2]]}, "a level is"),
        ({"codebook_size": 1}, "codebook_size is 1"),
        ({"codebook_size": 10}, "cut short|left over"),
        ({"codebook_size": 2**40}, "codebook_size"),
        ({"clip_blocks": 10**12}, "clip_blocks"),
        ({"block_frames": 2}, "cut short"),
        ({"model": 5}, "model is 5"),
        ({"videos": []}, "too few"),
        ({"videos": {}}, "must be lists"),
        ({"videos": [3]}, "must have the fields"),
        ({"more": 1}, "must have the fields"),
    ],
)
def test_lying_headers(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenFileError, match=message):
        Tokens.from_bytes(lie(**changes))


def test_ids_and_levels_outside_their_range() -> None:
    with pytest.raises(TokenFileError, match="an id of 9; its codebook has 9 codes"):
        Tokens.from_bytes(lie(b"\x79", codebook_size=9))
    with pytest.raises(TokenFileError, match="level number 3 of 3 levels"):
        Tokens.from_bytes(lie(b"\xc0" + bytes(3), levels=[1, 2, 3]))


def test_a_small_file_cannot_take_much_memory() -> None:
    bomb = zlib.compress(bytes(1 << 25), 9)
    with pytest.raises(TokenFileError, match="one compressed stream"):
        Tokens.from_bytes(forge(bomb))
    with pytest.raises(TokenFileError, match="one compressed stream"):
        Tokens.from_bytes(lie(bomb + bytes(2), times=len(bomb)))


@pytest.mark.parametrize("header", [b"[" * 100_000, b"[]", b"null", b"{}", b"\xff", b'{"levels": NaN}'])
def test_headers_that_are_none(header: bytes) -> None:
    with pytest.raises(TokenFileError, match="header"):
        Tokens.from_bytes(forge(zlib.compress(header)))


def test_other_files_and_versions_are_told_apart() -> None:
    with pytest.raises(TokenFileError, match="no token file"):
        Tokens.from_bytes(b"some text that is long enough")
    with pytest.raises(TokenFileError, match="no token file"):
        Tokens.from_bytes(b"")
    with pytest.raises(TokenFileError, match="format version 2; this evatok reads version 1"):
        Tokens.from_bytes(forge(b"whatever", version=2))


# ---- on disk


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "a.tokens"
    tokens = make(FORM, [9, 30], times=True)
    path.write_bytes(b"old")
    tokens.save(path)
    assert path.read_bytes() == tokens.to_bytes()
    assert Tokens.load(str(path)) == tokens
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_leaves_what_was_there(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    with pytest.raises(OSError, match="taken"):
        make(FORM, [4]).save(taken)
    assert list(tmp_path.iterdir()) == [taken]


def test_load_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match=r"cannot read .*none\.tokens: No such file"):
        Tokens.load(tmp_path / "none.tokens")
    (tmp_path / "bad.tokens").write_bytes(GOOD[:100])
    with pytest.raises(TokenFileError, match=r"cannot read .*bad\.tokens: it is damaged or cut short"):
        Tokens.load(tmp_path / "bad.tokens")
