"""Damaged videos: each is read or has a reason, within time and memory; `benchmarks/fuzz.py` is the long form."""

import multiprocessing
from pathlib import Path

import pytest

from evatok.data.manifest import Manifest
from evatok.data.prepare.children import Failure, in_children
from evatok.data.prepare.scanning import ScanConfig, scan_to
from tests.video.mutants import KINDS, Examined, Mutant, examine, mutants
from tests.video.originals import FRAMES, originals

SEED, COUNT = 0, 64
CONFIG = ScanConfig(2, seconds=20.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture(scope="module")
def written(made: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Mutant]]:
    folder = tmp_path_factory.mktemp("mutants")
    several = mutants(made, SEED, COUNT)
    for mutant in several:
        (folder / mutant.name).write_bytes(mutant.data)
    return folder, several


@pytest.fixture(scope="module")
def scanned(written: tuple[Path, list[Mutant]], tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return scan_to(written[0], tmp_path_factory.mktemp("manifest") / "m.parquet", CONFIG)


def test_fuzz_mutants_are_a_function_of_the_seed(made: dict[str, bytes]) -> None:
    assert mutants(made, SEED, 40) == [*mutants(made, SEED, 80)[:40]]
    assert mutants(made, SEED, 40) != mutants(made, SEED + 1, 40)


def test_fuzz_every_original_is_good(made: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    manifest = scan_to(tmp_path, tmp_path / "m.parquet", CONFIG)
    assert not len(manifest.bad) and len(manifest.good) == len(made) >= 40
    frames = {row.path: row.frames or 0 for row in manifest.good}
    # What comes before time 0 is not shown.
    assert 0 < frames.pop("h264-negative.mov") < FRAMES
    assert set(frames.values()) == {FRAMES}


def test_fuzz_every_mutant_is_good_or_has_a_reason(written: tuple[Path, list[Mutant]], scanned: Manifest) -> None:
    assert [row.path for row in scanned] == sorted(mutant.name for mutant in written[1])
    assert len({mutant.kind for mutant in written[1]}) == len(KINDS)
    assert all(row.reason for row in scanned.bad)
    good = {row.path for row in scanned.good}
    assert {mutant.name for mutant in written[1] if mutant.kind == "unchanged"} <= good
    assert len(scanned.bad) > COUNT // 4


def test_fuzz_what_a_scan_calls_good_can_be_read(written: tuple[Path, list[Mutant]], scanned: Manifest) -> None:
    """In other children than the scan's, with the same limits; bad ones are bad for the same reason."""
    paths = [str(written[0] / row.path) for row in scanned]
    outcomes = dict(in_children(examine, paths, [CONFIG.seconds] * len(paths), CONFIG.memory, 2))
    kinds = {mutant.name: mutant.kind for mutant in written[1]}
    for number, row in enumerate(scanned):
        outcome = outcomes[number]
        if isinstance(outcome, Failure):
            assert outcome.reason == row.reason, row.path
            continue
        assert isinstance(outcome, Examined)
        assert outcome.reason == row.reason, row.path
        assert outcome.frames == (row.frames or 0)
        assert outcome.same or kinds[row.path] not in ("unchanged", "wrong extension"), row.path
        assert outcome.memory < CONFIG.memory
    assert multiprocessing.active_children() == []
