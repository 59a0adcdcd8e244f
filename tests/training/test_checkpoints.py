"""Checkpoints appear whole or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import SafetensorError

from evatok.training.checkpoints import checkpoint_step, checkpoints, making_checkpoint


def write(folder: Path) -> None:
    (folder / "weights").write_text("w")


def write_checkpoint(folder: Path, step: int, keep: int, write: Callable[[Path], None]) -> None:
    with making_checkpoint(folder, step, keep) as temporary:
        write(temporary)


def test_the_last_ones_are_kept_in_order(tmp_path: Path) -> None:
    for step in (5, 10, 100, 1000):
        write_checkpoint(tmp_path, step, keep=2, write=write)
    assert [checkpoint_step(path) for path in checkpoints(tmp_path)] == [100, 1000]
    assert (checkpoints(tmp_path)[-1] / "weights").read_text() == "w"


@pytest.mark.parametrize("kind", [OSError, RuntimeError, SafetensorError])
def test_a_write_that_fails_leaves_the_last_good_one(tmp_path: Path, kind: type[Exception]) -> None:
    write_checkpoint(tmp_path, 1, keep=1, write=write)

    def fail(folder: Path) -> None:
        write(folder)
        raise kind("disk full")

    with pytest.raises(OSError, match=r"cannot write checkpoint .*step_00000002: disk full; .*step_00000001"):
        write_checkpoint(tmp_path, 2, keep=1, write=fail)
    assert [checkpoint_step(path) for path in checkpoints(tmp_path)] == [1]
    write_checkpoint(tmp_path, 2, keep=1, write=write)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000002"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    for left in (".step_00000001.partial", ".step_00000001.removed"):
        write_into = tmp_path / left
        write_into.mkdir()
        write(write_into)
    write_checkpoint(tmp_path, 2, keep=1, write=write)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000002"]


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 2, keep=1, write=write)
    write_checkpoint(tmp_path, 2, keep=1, write=lambda folder: (folder / "other").touch())
    assert [path.name for path in (tmp_path / "step_00000002").iterdir()] == ["other"]


def test_other_folders_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "step_x").mkdir()
    (tmp_path / ".step_00000001.partial").mkdir()
    assert checkpoints(tmp_path) == []
