"""Doom's WAD files: a directory of named lumps of bytes."""

import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MAP = re.compile(r"E\dM\d|MAP\d\d")
_HEADER = struct.Struct("<4sii")  # kind, number of lumps, where the directory is
_ENTRY = struct.Struct("<ii8s")  # where the lump is, its bytes, its name


class Wad:
    """The directory of a WAD file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no WAD file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or header[:4] not in (b"IWAD", b"PWAD"):
                raise ValueError(f"{path} is no WAD file")
            _, lumps, directory = _HEADER.unpack(header)
            file.seek(directory)
            entries = _ENTRY.iter_unpack(file.read(lumps * _ENTRY.size))
            self._lumps = {name.rstrip(b"\0").decode("latin-1"): (at, size) for at, size, name in entries}

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps, such as "E1M1" or "MAP01", in their order."""
        return tuple(sorted(filter(_MAP.fullmatch, self._lumps)))

    def palette(self) -> NDArray[np.uint8]:
        """The colours without tints, uint8 (256, 3); KeyError if the file has none."""
        at, _ = self._lumps["PLAYPAL"]
        with self._path.open("rb") as file:
            file.seek(at)
            return np.frombuffer(file.read(768), np.uint8).reshape(256, 3)
