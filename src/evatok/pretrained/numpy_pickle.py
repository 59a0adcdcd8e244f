"""Pickles of numpy arrays, read without admitting anything else.

Some published weights are pickles of nested dictionaries of arrays. A pickle can name any function and have
it called; this reader admits the three numpy names that arrays need, and no others.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np


def _empty_array(kind: type[np.ndarray], shape: tuple[int, ...], code: bytes) -> np.ndarray:
    return np.ndarray.__new__(kind, shape, code.decode())


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # As numpy 1 spells it; importing that name from numpy 2 warns. The pickle then fills the array.
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not admitted: only numpy arrays are") from None


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a pickle of nested dictionaries of arrays as one dictionary with keys like ``"outer/inner"``.

    Raises ``pickle.UnpicklingError`` when it holds anything else.
    """
    tree = _ArrayUnpickler(io.BytesIO(path.read_bytes())).load()
    return dict(_leaves(tree, ""))


def _leaves(tree: Any, name: str) -> list[tuple[str, np.ndarray]]:
    if isinstance(tree, np.ndarray):
        return [(name, tree)]
    if not isinstance(tree, dict):
        raise pickle.UnpicklingError(f"{name or 'the top'} is neither a dictionary nor an array: {type(tree)}")
    start = f"{name}/" if name else ""
    return [leaf for key, value in tree.items() for leaf in _leaves(value, f"{start}{key}")]
