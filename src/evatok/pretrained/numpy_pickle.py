"""Pickles of numpy arrays, read without admitting anything else.

Some published weights are pickles of nested dictionaries of arrays. A pickle can name any function and have it
called; this reader admits the three numpy names that arrays need, and no others.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # Spelled as numpy 1 wrote it; both functions make an empty array, which the pickle then fills.
    ("numpy.core.multiarray", "_reconstruct"): lambda kind, shape, code: np.ndarray.__new__(kind, shape, code),
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


def _leaves(tree: Any, prefix: str) -> list[tuple[str, np.ndarray]]:
    if isinstance(tree, np.ndarray):
        return [(prefix, tree)]
    if not isinstance(tree, dict):
        raise pickle.UnpicklingError(f"{prefix or 'the top'} is {type(tree).__name__}, not a dictionary or an array")
    return [leaf for key, value in tree.items() for leaf in _leaves(value, f"{prefix}/{key}" if prefix else key)]
