"""WAD files that are written here."""

import struct
from pathlib import Path

import numpy as np
import pytest

from evatok.data.toy.wad import Wad


def write_wad(path: Path, lumps: dict[str, bytes]) -> Path:
    entries, at = b"", 12
    for name, content in lumps.items():
        entries += struct.pack("<ii8s", at, len(content), name.encode())
        at += len(content)
    path.write_bytes(struct.pack("<4sii", b"IWAD", len(lumps), at) + b"".join(lumps.values()) + entries)
    return path


def test_maps_and_palette(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(256, size=(14, 256, 3), dtype=np.uint8)
    lumps = {"MAP02": b"", "THINGS": b"abc", "PLAYPAL": colours.tobytes(), "MAP01": b"", "MAPINFO": b"x", "E1M1": b""}
    wad = Wad(write_wad(tmp_path / "game.wad", lumps))
    assert wad.maps == ("E1M1", "MAP01", "MAP02")
    assert np.array_equal(wad.palette(), colours[0])


def test_no_wad(tmp_path: Path) -> None:
    (tmp_path / "game.wad").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"game\.wad is no WAD file"):
        Wad(tmp_path / "game.wad")
    with pytest.raises(KeyError):
        Wad(write_wad(tmp_path / "none.wad", {"MAP01": b""})).palette()
