"""Episodes that the processes of a loader share."""

import gc
import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from evatok.data.toy import episodes
from evatok.data.toy.episodes import EpisodeSource, Palette, Screens


class Noise(EpisodeSource):
    """Episodes of noise; which are played is written down."""

    name, fps, size = "noise", 10, (2, 3)

    def __init__(self, log: Path) -> None:
        super().__init__({"a": "", "b": ""}, seeds=(0, 2), frames=40)
        self.log = log

    def play(self, name: str, seed: int, frames: int) -> tuple[Screens, Palette]:
        with self.log.open("a") as log:
            log.write(f"{name}/{seed} {os.getpid()}\n")
        screens = np.random.default_rng([seed, *name.encode()]).integers(0, 256, (frames, 2, 3), np.uint8)
        return screens, np.arange(768, dtype=np.uint8).reshape(256, 3)

    @staticmethod
    def pack(screens: Screens) -> bytes:
        return screens.tobytes()

    @staticmethod
    def unpack(chunk: bytes) -> Screens:
        return np.frombuffer(chunk, np.uint8).reshape(-1, 2, 3)


class Read(Dataset[torch.Tensor]):
    def __init__(self, source: EpisodeSource) -> None:
        self.source = source

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.source.read(index % len(self.source), 3, 20, 1)


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders are shared: in place of the system's own, which torch's processes use too."""
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setattr(episodes, "tempfile", SimpleNamespace(gettempdir=lambda: str(folder)))
    return folder


@pytest.fixture
def log(tmp_path: Path, shared: Path) -> Path:
    """Where the episodes that are played are written down."""
    return tmp_path / "log"


def through(source: EpisodeSource, times: int) -> list[torch.Tensor]:
    """All episodes, by a new process that is asked so many times for each."""
    items = [index for _ in range(times) for index in range(len(source))]
    return list(DataLoader(Read(source), batch_size=None, sampler=items, num_workers=1))


def test_what_one_process_has_played_the_next_reads(log: Path) -> None:
    source = Noise(log)
    first, second = through(source, 2), through(source, 1)
    played = log.read_text().splitlines()
    assert len(played) == 4 == len({line.split()[0] for line in played})
    expected = [Noise(log.with_name("other")).read(index, 3, 20, 1) for index in range(4)]
    for found in (first[:4], first[4:], second):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_what_was_shared_goes_with_the_source(log: Path, shared: Path) -> None:
    source = Noise(log)
    through(source, 1)
    assert len(list(shared.glob("*/*.npz"))) == 4
    del source
    gc.collect()
    assert not [*shared.iterdir()]


def test_a_process_alone_writes_nothing(log: Path, shared: Path) -> None:
    source = Noise(log)
    source.read(0, 0, 1, 1)
    assert not [*shared.iterdir()]


def test_without_room_to_share_all_is_played(log: Path, shared: Path) -> None:
    shared.rmdir()
    assert len(through(Noise(log), 1)) == 4
    assert not shared.exists()


def test_what_killed_processes_left_goes_after_days(log: Path, shared: Path) -> None:
    left, younger = (shared / f"evatok-noise-{number}-00000000" for number in (1, 2))
    for folder in (left, younger):
        folder.mkdir()
    os.utime(left, (time.time() - 3 * 24 * 3600,) * 2)
    source = Noise(log)
    through(source, 1)
    assert not left.exists() and younger.exists()
