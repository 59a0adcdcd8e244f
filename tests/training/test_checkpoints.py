"""Checkpoints appear whole or not at all."""

from pathlib import Path

import pytest

from evatok.training.checkpoints import checkpoint_step, checkpoints, write_checkpoint


def write(folder: Path) -> None:
    (folder / "weights").write_text("w")


def test_the_last_ones_are_kept_in_order(tmp_path: Path) -> None:
    for step in (5, 10, 100, 1000):
        write_checkpoint(tmp_path, step, keep=2, write=write)
    assert [checkpoint_step(path) for path in checkpoints(tmp_path)] == [100, 1000]
    assert (checkpoints(tmp_path)[-1] / "weights").read_text() == "w"


def test_a_write_that_fails_leaves_the_last_good_one(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 1, keep=1, write=write)

    def fail(folder: Path) -> None:
        write(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_checkpoint(tmp_path, 2, keep=1, write=fail)
    assert [checkpoint_step(path) for path in checkpoints(tmp_path)] == [1]
    write_checkpoint(tmp_path, 2, keep=1, write=write)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000002"]


def test_other_folders_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "step_x").mkdir()
    (tmp_path / ".step_00000001.partial").mkdir()
    assert checkpoints(tmp_path) == []
    with pytest.raises(ValueError, match="step_N"):
        checkpoint_step(tmp_path / "other")
