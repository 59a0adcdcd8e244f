"""Token sets: what is written is read, and nothing that is damaged, unfinished or of another set."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from evatok.tokens.records import TokenFormat
from evatok.tokens.token_set import ClipTokens, TokenSet, TokenSetError, TokenSetHeader, write_part

FORMAT = TokenFormat(levels=(1, 2), codebook_size=64, block_frames=4, clip_blocks=2, model="mini", checksum="abc")
HEADER = TokenSetHeader(FORMAT, ("cats", "dogs"), (32, 48), 12.5, 3, {"tokenizer": "mini", "clips": 5})


def clip(video: str, label: int, number: int, mirrored: bool, lengths: list[int], ids: list[int]) -> ClipTokens:
    return ClipTokens(video, label, number, mirrored, np.array(lengths, np.int32), np.array(ids, np.int32))


CLIPS = [
    clip("a:0", 1, 0, False, [1, 2], [5, 6, 7]),
    clip("a:0", 1, 1, False, [2, 2], [0, 1, 2, 63]),
    clip("a:0", 1, 0, True, [1, 1], [8, 9]),
    clip("a:0", 1, 1, True, [1, 1], [10, 11]),
    clip("b:0", -1, 0, False, [2, 1], [12, 13, 14]),
]


def write(folder: Path, header: TokenSetHeader = HEADER) -> None:
    header.write(folder)
    write_part(folder / "part-00000.parquet", header, CLIPS[:4], {})
    write_part(folder / "part-00001.parquet", header, [], {"a:1": "it breaks off"})
    write_part(folder / "part-00002.parquet", header, CLIPS[4:], {})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    found = TokenSet.open(tmp_path)
    assert (found.format, found.classes, found.picture, found.fps) == (FORMAT, ("cats", "dogs"), (32, 48), 12.5)
    assert found.how == {"tokenizer": "mini", "clips": 5, "skipped": {"a:1": "it breaks off"}}
    assert found.lengths.tolist() == [[1, 2], [2, 2], [1, 1], [1, 1], [2, 1]] and found.lengths.dtype == np.int32
    assert found.labels.tolist() == [1, 1, 1, 1, -1] and found.labels.dtype == np.int32
    assert found.videos.tolist() == [0, 0, 0, 0, 1] and found.videos.dtype == np.int32
    assert found.names.to_pylist() == ["a:0", "b:0"]
    assert found.clips.tolist() == [0, 1, 0, 1, 0] and found.clips.dtype == np.int32
    assert found.mirrored.tolist() == [False, False, True, True, False]
    assert found.starts.tolist() == [0, 3, 7, 9, 11, 14] and found.starts.dtype == np.int64
    assert found.ids.tolist() == [5, 6, 7, 0, 1, 2, 63, 8, 9, 10, 11, 12, 13, 14] and found.ids.dtype == np.int32
    assert len(found) == 5 and found.clip_ids(1).tolist() == [0, 1, 2, 63]


@pytest.mark.parametrize(("codes", "kind"), [(2**16, "uint16"), (2**16 + 1, "int32")])
def test_ids_take_two_bytes_where_they_can(tmp_path: Path, codes: int, kind: str) -> None:
    header = replace(HEADER, format=replace(FORMAT, codebook_size=codes), parts=1)
    header.write(tmp_path)
    write_part(tmp_path / "part-00000.parquet", header, [clip("a:0", 0, 0, False, [1, 1], [codes - 1, 0])], {})
    assert pyarrow.parquet.read_schema(tmp_path / "part-00000.parquet").field("ids").type.value_type == kind
    assert TokenSet.open(tmp_path).ids.tolist() == [codes - 1, 0]


def remove_two(folder: Path) -> None:
    (folder / "part-00000.parquet").unlink()
    (folder / "part-00002.parquet").unlink()


def put(clips: list[ClipTokens], header: TokenSetHeader = HEADER) -> Callable[[Path], None]:
    return lambda folder: write_part(folder / "part-00000.parquet", header, clips, {})


def cut_off(folder: Path) -> None:
    path = folder / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-40])


def change(**entries: Any) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        path = folder / "tokens.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return work


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "unfinished": (remove_two, "unfinished, 1 of 3 parts are there: run the same `evatok tokenize` again"),
    "no set": (lambda folder: (folder / "tokens.json").unlink(), r"tokens\.json cannot be read: no such file"),
    "not JSON": (lambda folder: (folder / "tokens.json").write_text("{"), r"tokens\.json cannot be read: Expecting"),
    "other JSON": (change(kind="search"), "it is no token set's"),
    "a later version": (change(version=2), "it has version 2; this evatok reads version 1"),
    "a changed header": (change(fps=25.0), r"part-00000\.parquet cannot be read: it does not belong to the set"),
    "a wrong header": (change(fps="fast"), "fps must be float, got 'fast'"),
    "another set's part": (put(CLIPS[:4], replace(HEADER, how={})), "it does not belong to the set"),
    "part of a file": (cut_off, r"part-00000\.parquet cannot be read"),
    "an id too high": (put([clip("a:0", 0, 0, False, [1, 1], [64, 0])]), r"ids lie in \[0, 64\]; the codebook has"),
    "no level": (put([clip("a:0", 0, 0, False, [1, 3], [1, 2, 3, 4])]), r"a block has 3 tokens; the levels are"),
    "too few ids": (put([clip("a:0", 0, 0, False, [1, 2], [1, 2])]), "more or fewer ids than its lengths add up to"),
    "too many blocks": (put([clip("a:0", 0, 0, False, [1, 1, 1], [1, 2, 3])]), "a clip has 3 blocks instead of 2"),
    "no class": (put([clip("a:0", 2, 0, False, [1, 1], [1, 2])]), r"labels lie in \[2, 2\]; there are 2 classes"),
    "no first clip": (put([clip("a:0", 0, 1, False, [1, 1], [1, 2])]), "are not numbered from 0 on"),
    "a gap": (put([CLIPS[0], clip("a:0", 1, 2, False, [1, 1], [1, 2])]), "are not numbered from 0 on"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_damaged_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    damage, said = DAMAGE[name]
    damage(tmp_path)
    with pytest.raises(TokenSetError, match=said) as error:
        TokenSet.open(tmp_path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_part_without_its_columns_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "part-00000.parquet"
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.drop_columns(["ids"]), path)
    with pytest.raises(TokenSetError, match="ids"):
        TokenSet.open(tmp_path)
    pyarrow.parquet.write_table(table.set_column(5, "ids", pyarrow.array(["x"] * 4)), path)
    with pytest.raises(TokenSetError, match="cannot be read"):
        TokenSet.open(tmp_path)
