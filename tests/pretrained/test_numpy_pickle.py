"""Pickles of arrays are read; a pickle that names anything else is refused before it can act."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evatok.pretrained.numpy_pickle import load_arrays


class Touch:
    """Unpickled freely, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def write(path: Path, tree: object) -> Path:
    # As the published files are: protocol 3, and the names that numpy 1 gave.
    content = pickle.dumps(tree, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    path.write_bytes(content)
    return path


def test_nested_arrays_become_one_level(tmp_path: Path) -> None:
    tree = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "b": np.ones(2, np.float32)}
    arrays = load_arrays(write(tmp_path / "arrays", tree))
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "a/kernel": [[0, 1, 2], [3, 4, 5]],
        "b": [1, 1],
    }


def test_nothing_else_is_admitted(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    file = write(tmp_path / "bad", {"a": np.ones(2, np.float32), "b": Touch(target)})
    with pytest.raises(pickle.UnpicklingError, match="not admitted"):
        load_arrays(file)
    assert not target.exists()


def test_leaves_must_be_arrays(tmp_path: Path) -> None:
    with pytest.raises(pickle.UnpicklingError, match="a/b"):
        load_arrays(write(tmp_path / "bad", {"a": {"b": 3}}))
