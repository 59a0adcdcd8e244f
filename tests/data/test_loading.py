"""Batches out of other processes: what befalls these ends the run with a sentence, and never lets it wait."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch.utils.data import Dataset

from evatok.data.clips import ClipSamplerConfig, TrainingClips
from evatok.data.folders import FolderConfig, FolderSource
from evatok.data.loading import loader
from evatok.data.quarantine import Quarantine, TooManyBadVideos
from evatok.data.storage import StorageError
from evatok.video.reading import VideoError


class Numbers(Dataset[int]):
    """Items that are their numbers, but for what happens at some of them."""

    def __init__(self, happens: Callable[[int], None], quarantines: list[Quarantine] | None = None) -> None:
        self.happens = happens
        self.quarantines = quarantines or []

    def __getitem__(self, item: int) -> int:
        self.happens(item)
        return item


class Stubborn(ValueError):
    """An error that cannot be made out of what pickling keeps."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def raising(error: BaseException) -> Callable[[int], None]:
    def happens(item: int) -> None:
        if item == 3:
            raise error

    return happens


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_items_come_in_order(workers: int) -> None:
    assert list(loader(Numbers(lambda item: None), range(5, 30, 3), workers)) == [*range(5, 30, 3)]
    assert list(loader(Numbers(lambda item: None), [], workers)) == []


@pytest.mark.parametrize(
    "error",
    [
        ValueError("it is wrong"),
        VideoError("cannot read video 'a.mp4': it breaks off", "it breaks off"),
        TooManyBadVideos("3 of the 4 videos are bad"),
        StorageError("cannot read s3://b/a.tar: gone"),
        FileNotFoundError(2, "No such file or directory", "a.mp4"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_out_as_itself(error: Exception, workers: int) -> None:
    seen = []
    with pytest.raises(type(error)) as caught:
        for item in loader(Numbers(raising(error)), range(9), workers):
            seen.append(item)
    assert seen == [0, 1, 2]
    assert type(caught.value) is type(error) and str(caught.value) == str(error) and caught.value.args == error.args
    assert getattr(caught.value, "reason", None) == getattr(error, "reason", None)
    assert workers == 0 or "in happens" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TypeError("a mistake"), "TypeError: a mistake"),
        (Stubborn("this", "that"), "Stubborn: this and that"),
        (ValueError(lambda: "no value"), "ValueError: <function"),
        (type("Local", (OSError,), {})("of a function"), "Local: of a function"),
    ],
)
def test_of_other_errors_all_is_told(error: Exception, said: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        list(loader(Numbers(raising(error)), range(9), 1))
    assert said in str(caught.value) and "in happens" in str(caught.value)


def test_a_process_that_is_killed_ends_the_run() -> None:
    def happens(item: int) -> None:
        if item == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    before = signal.getsignal(signal.SIGCHLD)
    batches = loader(Numbers(happens), range(100), 2)
    assert next(batches) == 0 and signal.getsignal(signal.SIGCHLD) is before
    with pytest.raises(ChildProcessError, match=r"^a process that makes batches was killed or crashed \(SIGKILL\); if"):
        list(batches)


SCRIPT = """
from evatok.data.loading import loader

class Numbers:
    def __getitem__(self, item):
        if item == 3:
            raise ValueError("in a worker")
        return item

kept = []
try:
    list(loader(Numbers(), range(9), 1))
except ValueError as error:
    kept += [error, kept]  # as a traceback may be kept
    print(error)
batches = loader(Numbers(), range(9), 1)
kept += [batches, next(batches)]
raise ValueError("in the main process")
"""


def test_no_error_leaves_a_process_waiting() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and done.stdout == "in a worker\n"
    assert done.stderr.endswith("ValueError: in the main process\n")


def test_processes_end_with_who_listens_and_not_at_sigterm() -> None:
    def happens(item: int) -> None:
        signal.raise_signal(signal.SIGTERM)

    batches = loader(Numbers(happens), range(1000), 2)
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    if not children.exists():
        pytest.skip("this system does not list children")
    assert len(children.read_text().split()) >= 2
    before = set(children.read_text().split())
    batches.close()  # type: ignore[attr-defined]
    after = set(children.read_text().split())
    assert len(before - after) == 2


def failing(*items: int, max_bad: float) -> Numbers:
    """Each of these items meets a video that is bad, and is well all the same."""
    quarantine = Quarantine("some", "a/folder", 10, (), max_bad)

    def happens(item: int) -> None:
        if item in items:
            quarantine.add(f"v{item % 8}.mp4", "it breaks off")

    return Numbers(happens, [quarantine])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_bad_videos_are_counted_over_all_processes(workers: int, caplog: pytest.LogCaptureFixture) -> None:
    dataset = failing(0, 1, 4, 8, 9, 12, max_bad=0.3)  # three videos, each of them twice
    with caplog.at_level(logging.WARNING, logger="evatok.data"):
        assert list(loader(dataset, range(20), workers)) == [*range(20)]
    assert dataset.quarantines[0].failed == {f"v{item}.mp4": "it breaks off" for item in (0, 1, 4)}
    assert [record.getMessage() for record in caplog.records] == [
        "some: cannot read v0.mp4: it breaks off",
        "some: cannot read v1.mp4: it breaks off",
        "some: cannot read v4.mp4: it breaks off",
        "some: 3 of 10 videos could not be read: v0.mp4; v1.mp4; v4.mp4",
    ]
    read = []
    with pytest.raises(TooManyBadVideos, match=r"4 of the 10 videos of a/folder are bad: 40\.0%"):
        for item in loader(failing(0, 1, 2, 3, max_bad=0.3), range(20), workers):
            read.append(item)
    assert read == [0, 1, 2]


def test_good_videos_are_not_talked_of(caplog: pytest.LogCaptureFixture) -> None:
    assert len(list(loader(failing(max_bad=0.0), range(4), 1))) == 4
    assert caplog.text == ""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_video_that_breaks_off_is_named_at_the_end(
    workers: int, video_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = FolderSource(FolderConfig(str(video_folder), max_bad=0.5))
    (video_folder / "1.mp4").write_bytes(b"another size")
    config = ClipSamplerConfig(frames=4, sizes=[(8, 8)], size_weights=[1.0])
    batches = loader(TrainingClips([source], [1.0], config, 8, 0), range(4), workers)
    keys = [key for batch in batches for key in batch.keys]
    assert len(keys) == 32 and all(key.startswith("videos:0.mp4@") for key in keys)
    assert list(source.bad.failed) == ["1.mp4"]
    assert caplog.records[-1].getMessage() == "videos: 1 of 2 videos could not be read: 1.mp4"
