"""Tables of searched clips in memory and on disk."""

from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch

from evatok.assignment import AssignmentSpace
from evatok.search.table import SearchTable, TableError

SPACE = AssignmentSpace((1, 2), 2)
# Prefixes: (1), (2), (1, 1), (1, 2), (2, 1), (2, 2).
TABLE = SearchTable(
    SPACE,
    (0, 2),
    ("a:x@0+1", "a:y@3+1"),
    torch.tensor([[100.0, 50, 300, 200, 150, 50], [65025.0, 0, 65025, 0, 0, 0]]),
    torch.tensor([[0.4, 0.2, 0.6, 0.5, 0.4, 0.2], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]),
    torch.tensor([[0.1, 0.2], [0.0, 0.3]]),
    {"tokenizer": "t", "size": [64, 64]},
    {1: "it is empty"},
)


def test_clips_have_the_means_of_their_blocks() -> None:
    assert TABLE.clip_lpips[0].tolist() == pytest.approx([0.5, 0.45, 0.3, 0.2])
    assert TABLE.clip_lpips[1].tolist() == pytest.approx([0.2, 0.25, 0.35, 0.4])
    # 255 squared is 0 dB, half of it 3 dB, nothing at all the 100 dB that are the most there is.
    assert TABLE.clip_psnr[1].tolist() == pytest.approx([0, 3.0103, 100, 100], abs=1e-4)


def test_what_the_shortest_assignment_costs_and_where_clips_are_from() -> None:
    assert TABLE.shortest_mse.tolist() == [[100, 300], [65025, 65025]]
    assert TABLE.sources == ("a", "a")


def test_some_rows_of_a_table() -> None:
    last = TABLE.rows([1])
    assert (last.places, last.keys) == ((2,), ("a:y@3+1",))
    assert torch.equal(last.lpips, TABLE.lpips[1:]) and torch.equal(last.motion, TABLE.motion[1:])


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    TABLE.write(tmp_path / "part.parquet")
    back = SearchTable.read(tmp_path / "part.parquet")
    assert (back.space, back.places, back.keys) == (TABLE.space, TABLE.places, TABLE.keys)
    assert (back.made_by, back.skipped) == (TABLE.made_by, TABLE.skipped)
    assert torch.equal(back.mse, TABLE.mse) and torch.equal(back.lpips, TABLE.lpips)
    assert torch.equal(back.motion, TABLE.motion)
    plain = pyarrow.parquet.read_table(tmp_path / "part.parquet").to_pylist()
    assert plain[0]["key"] == "a:x@0+1" and plain[0]["lpips"] == pytest.approx([0.4, 0.2, 0.6, 0.5, 0.4, 0.2])


def test_what_made_an_older_table_has_its_new_name(tmp_path: Path) -> None:
    replace(TABLE, made_by={"tokenizer": "t", "network": "vgg"}).write(tmp_path / "part.parquet")
    assert SearchTable.read(tmp_path / "part.parquet").made_by == {"tokenizer": "t", "lpips_net": "vgg"}


def test_tables_of_one_making_join() -> None:
    both = SearchTable.joined([TABLE, replace(TABLE, places=(4, 5), keys=("b:x@0+1", "b:y@0+1"), skipped={})])
    assert both.places == (0, 2, 4, 5) and both.skipped == TABLE.skipped
    assert len(both) == 4 and both.keys[2] == "b:x@0+1" and torch.equal(both.lpips[2:], TABLE.lpips)
    with pytest.raises(TableError, match="differ in what made them"):
        SearchTable.joined([TABLE, replace(TABLE, made_by={"tokenizer": "u"})])


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no table")
    pyarrow.parquet.write_table(pyarrow.table({"key": ["a"]}), tmp_path / "plain.parquet")
    for name in ("text", "plain", "missing"):
        with pytest.raises(TableError, match=f"{name}.parquet is no table of searched clips"):
            SearchTable.read(tmp_path / f"{name}.parquet")
    with pytest.raises(TableError, match=r"mse must be \(2, 6\), got \(2, 5\)"):
        replace(TABLE, mse=TABLE.mse[:, :5])
