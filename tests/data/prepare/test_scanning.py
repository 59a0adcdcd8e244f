"""Scans: every video decoded completely, in children; killed and resumed, the same manifest."""

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evatok.data.folders import FolderConfig, FolderSource
from evatok.data.manifest import Manifest, read_manifest
from evatok.data.prepare import scanning
from evatok.data.prepare.journal import journal_beside
from evatok.data.prepare.scanning import ScanConfig, scan_to
from evatok.data.quarantine import TooManyBadVideos
from evatok.video.reading import VideoError, write_video


def noise(frames: int, seed: int = 0, size: tuple[int, int] = (48, 64)) -> Tensor:
    return torch.randint(0, 256, (frames, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four good videos and five bad files."""
    root = tmp_path / "videos"
    (root / "boxing").mkdir(parents=True)
    write_video(root / "a.mp4", noise(20), fps=10)
    write_video(root / "boxing" / "b.mkv", noise(17, 1), fps=12.5)
    write_video(root / "boxing" / "c.webm", noise(9, 2, (32, 40)), fps=25)
    shutil.copy(root / "a.mp4", root / "copy.mp4")
    whole = (root / "a.mp4").read_bytes()
    (root / "half.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "empty.mp4").touch()
    (root / "text.avi").write_text("these are no pictures\n" * 50)
    os.mkfifo(root / "pipe.mp4")
    (root / "nowhere.mp4").symlink_to(root / "gone.mp4")
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that scans decode, in order."""
    names: list[str] = []
    real = scanning.in_children

    def record(function: Callable, tasks: list[tuple[str, object]], *rest: object) -> Iterator[tuple[int, object]]:
        for number, outcome in real(function, tasks, *rest):  # type: ignore[arg-type]
            names.append(Path(tasks[number][0]).name)
            yield number, outcome

    monkeypatch.setattr(scanning, "in_children", record)
    return names


def test_a_scan_finds_what_is_there(folder: Path, tmp_path: Path) -> None:
    scan_to(folder, tmp_path / "m.parquet", ScanConfig(processes=2))
    manifest = read_manifest(tmp_path / "m.parquet")
    rows = {row.path: row for row in manifest}
    assert list(rows) == sorted(rows) and manifest.folder == str(folder)
    assert {row.path: (row.frames, row.fps, row.height, row.width, row.codec) for row in manifest.good} == {
        "a.mp4": (20, 10, 48, 64, "h264"),
        "boxing/b.mkv": (17, 12.5, 48, 64, "h264"),
        "boxing/c.webm": (9, 25, 32, 40, "vp9"),
        "copy.mp4": (20, 10, 48, 64, "h264"),
    }
    assert {row.path: row.reason for row in manifest.bad} == {
        "half.mp4": rows["half.mp4"].reason,
        "empty.mp4": "the file is empty",
        "text.avi": "invalid data found when processing input",
        "pipe.mp4": "it is not a file",
        "nowhere.mp4": "there is no such file",
    }
    assert str(folder) not in str(rows["half.mp4"].reason) and "breaks off" in str(rows["half.mp4"].reason)
    assert [rows[path].label for path in ("a.mp4", "boxing/b.mkv", "boxing/c.webm")] == ["", "boxing", "boxing"]
    data = (folder / "a.mp4").read_bytes()
    assert (rows["a.mp4"].bytes, rows["a.mp4"].sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert rows["copy.mp4"].sha256 == rows["a.mp4"].sha256 and rows["nowhere.mp4"].sha256 is None
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["m.parquet"]
    assert not journal_beside(tmp_path / "m.parquet").exists()


def test_the_number_of_processes_does_not_matter(folder: Path, tmp_path: Path) -> None:
    scan_to(folder, tmp_path / "one.parquet", ScanConfig(processes=1))
    scan_to(folder, tmp_path / "three.parquet", ScanConfig(processes=3))
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "three.parquet").read_bytes()


def interrupted(folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """A scan that ends after some videos, as if it had been killed."""
    real = scanning.in_children

    def some(*given: object) -> Iterator[tuple[int, object]]:
        for count, item in enumerate(real(*given)):  # type: ignore[arg-type]
            if count == after:
                raise KeyboardInterrupt
            yield item

    with monkeypatch.context() as patch:
        patch.setattr(scanning, "in_children", some)
        with pytest.raises(KeyboardInterrupt):
            scan_to(folder, target, ScanConfig(processes=1))


def test_an_interrupted_scan_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    whole = scan_to(folder, tmp_path / "whole.parquet", ScanConfig(processes=1))
    target, journal = tmp_path / "m.parquet", journal_beside(tmp_path / "m.parquet")
    decoded.clear()
    interrupted(folder, target, monkeypatch, after=4)
    assert not target.exists() and journal.exists()
    torn = journal.read_bytes()
    journal.write_bytes(torn + b'{"mtime": 12, "row": {"path": "cop')
    known, changed = set(decoded[:4]), next(folder.rglob(decoded[1]))
    os.utime(changed, ns=(1, 1))
    decoded.clear()
    assert scan_to(folder, target, ScanConfig(processes=1)) == whole
    assert known & set(decoded) == {changed.name}
    assert len(decoded) == len(whole) - 4 + 1
    assert not journal.exists()
    assert target.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_journal_of_another_folder_is_not_used(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    interrupted(folder, tmp_path / "m.parquet", monkeypatch, after=4)
    (folder / "pipe.mp4").unlink()  # which cannot be copied
    shutil.copytree(folder, tmp_path / "other", symlinks=True)
    decoded.clear()
    scan_to(tmp_path / "other", tmp_path / "m.parquet", ScanConfig(processes=1))
    assert len(decoded) == 8


def test_a_scan_that_is_killed_leaves_a_journal_and_no_process(folder: Path, tmp_path: Path) -> None:
    whole = scan_to(folder, tmp_path / "whole.parquet", ScanConfig(processes=1))
    code = (
        "import sys, os, signal\n"
        "from evatok.data.prepare import journal\n"
        "from evatok.data.prepare.journal import Journal\n"
        "add = Journal.add\n"
        "def kill_at_third(self, row, mtime):\n"
        "    add(self, row, mtime)\n"
        "    kill_at_third.count += 1\n"
        "    if kill_at_third.count == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "kill_at_third.count = 0\n"
        "Journal.add = kill_at_third\n"
        "from evatok.cli import main\n"
        "main(['data', 'scan', *sys.argv[1:]])\n"
    )
    words = [str(folder), "-o", str(tmp_path / "m.parquet"), "--processes", "1"]
    # Its children hold the other end of the pipe: reading it to the end waits for them to be gone.
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    lines = journal_beside(tmp_path / "m.parquet").read_text().splitlines()
    assert len(lines) == 4 and {"mtime", "row"} == set(json.loads(lines[1]))
    assert scan_to(folder, tmp_path / "m.parquet", ScanConfig(processes=2)) == whole


def test_a_time_that_is_over_becomes_a_reason(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the parent reads the file's digest: the child is gone."""
    monkeypatch.setattr(scanning, "_BYTES_PER_SECOND", 1e12)
    slow = ScanConfig(1, seconds=1e-4)
    rows = {row.path: row for row in scan_to(folder, tmp_path / "m.parquet", slow)}
    assert rows["a.mp4"].reason == "reading it takes longer than 0 s"
    assert rows["a.mp4"].sha256 == hashlib.sha256((folder / "a.mp4").read_bytes()).hexdigest()


def test_one_video_and_none(folder: Path, tmp_path: Path) -> None:
    manifest = scan_to(folder / "boxing" / "b.mkv", tmp_path / "m.parquet")
    assert [(row.path, row.label) for row in manifest] == [("b.mkv", "")]
    assert manifest.folder == str(folder / "boxing")
    with pytest.raises(ValueError, match="no folder or video"):
        scan_to(tmp_path / "gone", tmp_path / "m.parquet")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="no video files"):
        scan_to(tmp_path / "nothing", tmp_path / "m.parquet")


def test_limits_are_checked() -> None:
    assert ScanConfig(seconds=10).seconds_for(2**19) == 12
    assert ScanConfig(seconds=math.inf).seconds_for(5000) == 2**32
    with pytest.raises(ValueError, match="processes must be at least 1, got 0"):
        ScanConfig(processes=0)
    for wrong in ({"memory": 0}, {"seconds": -1.0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be greater than 0"):
            ScanConfig(**wrong)


def test_a_name_that_no_text_can_hold_is_a_reason(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"\xff.mp4")).touch()
    except OSError:
        pytest.skip("this file system has no such names")
    manifest = scan_to(folder, tmp_path / "m.parquet")
    assert [(row.path, row.reason) for row in manifest] == [("\ufffd.mp4", "its name is not in UTF-8")]


@pytest.fixture
def scanned(folder: Path, tmp_path: Path) -> tuple[Path, Manifest]:
    return folder, scan_to(folder, tmp_path / "m.parquet")


def test_a_folder_takes_its_manifest_as_an_index(
    scanned: tuple[Path, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, manifest = scanned
    monkeypatch.setattr("evatok.data.folders.look_at", lambda path: pytest.fail("it was scanned"))
    config = FolderConfig(str(folder), index=str(tmp_path / "m.parquet"), max_bad=0.7)
    source = FolderSource(config)
    entries = [source.describe(index) for index in range(len(source))]
    assert [(entry.key, entry.label, entry.frames, entry.size) for entry in entries] == [
        ("a.mp4", -1, 20, (48, 64)),
        ("boxing/b.mkv", 0, 17, (48, 64)),
        ("copy.mp4", -1, 20, (48, 64)),
    ]
    reasons = {video.path: video.reason for video in source.bad.skipped}
    assert reasons.pop("boxing/c.webm") == "too short: 9 frames, 16 are needed"
    assert reasons == {row.path: row.reason for row in manifest.bad}
    assert torch.equal(source.read(0, 3, 4, 2), source.read(2, 3, 4, 2))
    with pytest.raises(TooManyBadVideos, match="6 of the 9"):
        FolderSource(FolderConfig(str(folder), index=str(tmp_path / "m.parquet")))


def test_a_file_that_is_not_the_scanned_one_any_more_is_refused(scanned: tuple[Path, Manifest], tmp_path: Path) -> None:
    folder, _ = scanned
    source = FolderSource(FolderConfig(str(folder), index=str(tmp_path / "m.parquet"), max_bad=1))
    size = (folder / "a.mp4").stat().st_size
    write_video(folder / "a.mp4", noise(30, 3), fps=10)
    with pytest.raises(VideoError, match=rf"has \d+ bytes, and had {size} when scanned"):
        source.read(0, 0, 4, 1)
    assert list(source.bad.failed) == ["a.mp4"]
    (folder / "copy.mp4").unlink()
    with pytest.raises(VideoError, match="has 0 bytes"):
        source.read(2, 0, 4, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_what_cannot_be_written_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = r"^cannot write /dev/null/\.m\.parquet\.journal, the scan's journal: File exists$"
    with pytest.raises(OSError, match=said):
        scan_to(folder, Path("/dev/null/m.parquet"))
    real: Any = Path.open
    target = tmp_path / "m.parquet"

    def full(path: Path, *how: str, **more: str) -> object:
        return real(Path("/dev/full") if path == journal_beside(target) else path, *how, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(OSError, match=r"^cannot write .*\.m\.parquet\.journal, the scan's journal: No space left"):
            scan_to(folder, target, ScanConfig(processes=1))
    assert not target.exists()
