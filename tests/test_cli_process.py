"""The command line's process: signals that end it, streams that nobody reads, names that no text can hold."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from evatok.cli import main
from evatok.cli.process import raised_signals
from evatok.data.manifest import Manifest, ManifestRow, write_manifest
from evatok.data.prepare import sharding
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.tokens import Tokens
from evatok.video import writing
from evatok.video.reading import probe, read_video, write_video

# Where output is not buffered, argparse passes over that it cannot be written.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Signals do what they do by default, also where the tests run in a background that ignores some."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    for number in NUMBERS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def place(tmp_path: Path, mini: VideoTokenizer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a tokenizer, `in.mp4`, and its tokens and its scan."""
    monkeypatch.chdir(tmp_path)
    mini.save_pretrained("model")
    video = torch.randint(256, (20, 3, 40, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Path("videos").mkdir()
    write_video("videos/in.mp4", video, fps=10)
    mini.encode(video[None]).save("in.tokens")
    row = ManifestRow.good("in.mp4", "", os.path.getsize("videos/in.mp4"), "0", probe("videos/in.mp4"))
    write_manifest(Manifest.of([row], str(tmp_path / "videos")), "in.parquet")
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ends(number: int, function: Callable, calls: int) -> Callable:
    """A function of which a call ends the process."""
    made = 0

    def ending(*given: object, **named: object) -> object:
        nonlocal made
        made += 1
        if made == calls:
            os.kill(os.getpid(), number)
        return function(*given, **named)

    return ending


@pytest.mark.parametrize(
    ("words", "where", "name", "calls", "left"),
    [
        ("encode videos/in.mp4 -o new/ --tokenizer model", Tokens, "to_bytes", 1, set()),
        ("decode in.tokens -o out.mp4 --tokenizer model", writing, "to_frame", 3, set()),
        ("reconstruct videos/in.mp4 -o a/b --tokenizer model", writing, "to_frame", 3, set()),
        ("demo --video videos/in.mp4 -o a/b --tokenizer model", writing, "to_frame", 3, set()),
        ("data shards in.parquet shards", sharding, "_copy", 1, {"shards/unfinished.parquet"}),
        (
            "search --tokenizer model --folder out --clips 3 --part 1 --size [32,32] --sources '[{folder: videos}]'",
            np,
            "save",
            2,
            {"out/search.json", "out/part-00000.parquet", "out/part-00000.npy"},
        ),
    ],
)
def test_a_signal_in_the_middle_of_the_work_leaves_nothing_half_done(
    words: str,
    where: object,
    name: str,
    calls: int,
    left: set[str],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (place / "out.mp4").write_text("old")
    before, handlers = files(place), [signal.getsignal(number) for number in NUMBERS]
    for number in NUMBERS if where is Tokens else (signal.SIGTERM,):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, ends(number, getattr(where, name), calls))
            assert main(shlex.split(words)) == 128 + number
        said = capsys.readouterr().err.splitlines()[-1]
        assert said == f"evatok: {'interrupted' if number == signal.SIGINT else f'ended by {number.name}'}"
    after = files(place)
    assert before.items() <= after.items() and after.keys() - before.keys() == left
    assert not (place / "new").exists() and not (place / "a").exists()
    assert [signal.getsignal(number) for number in NUMBERS] == handlers


def test_signals_raise_once_and_ignored_ones_stay_ignored() -> None:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    with raised_signals() as came:
        with pytest.raises(SystemExit) as raised:
            os.kill(os.getpid(), signal.SIGTERM)
        assert raised.value.code == 143
        os.kill(os.getpid(), signal.SIGHUP)  # while things are tidied up
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert came == [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised_signals() as came:
            os.kill(os.getpid(), signal.SIGHUP)
            assert came == []
    finally:
        signal.signal(signal.SIGHUP, before[signal.SIGHUP])
    assert {number: signal.getsignal(number) for number in NUMBERS} == before


def test_outside_of_the_main_thread_no_signal_is_touched(capsys: pytest.CaptureFixture[str]) -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]


INTERRUPTED = """
import importlib.abc, os, runpy, signal, sys, time
wanted, turned = sys.argv.pop(), sys.argv.pop()

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                if turned == "aborted":
                    os.abort()
                if turned == "turned":
                    raise ImportError("a part failed to import") from None
                raise

sys.meta_path.insert(0, Finder())
runpy.run_module("evatok", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("wanted", "turned"),
    [("jsonargparse", ""), ("torch", ""), ("torch", "turned"), ("torch.distributed", "aborted")],
)
def test_an_interrupt_of_an_import_is_told_in_a_line(wanted: str, turned: str) -> None:
    words = [sys.executable, "-c", INTERRUPTED, "encode", "in.mp4", "-o", "out", turned, wanted]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "evatok: interrupted\n")


def test_streams_that_nobody_reads() -> None:
    read, write = os.pipe()
    os.close(read)
    python = [sys.executable, "-m", "evatok"]
    done = subprocess.run([*python, "--help"], stdout=write, stderr=subprocess.PIPE, text=True, env=BUFFERED)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
    for redirected, code in (("--version >&-", 0), ("nonsense 2>&-", 2), ("--version <&- >&- 2>&-", 0)):
        done = subprocess.run(["sh", "-c", f'"$@" {redirected}', "sh", *python], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is full")
def test_a_stream_that_cannot_be_written_is_told() -> None:
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "evatok", "--version"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, env=BUFFERED)
    assert done.returncode == 1
    assert done.stderr == "evatok: cannot write what was to be printed: no space left on device\n"


@pytest.mark.parametrize("name", [b"\xff", b"a\nb", b'it\'s "q" $x$', b"-x", b"--a-b", b"%d", b"a:b", b"file:c"])
def test_names_of_any_kind(name: bytes, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stem = os.fsdecode(name)
    video, tokens, back = f"{stem}.mp4", f"out/{stem}.tokens", f"out/{stem}.mp4"
    os.replace("videos/in.mp4", video)
    chosen = ["--tokenizer", "model", "--output=out/", "--"]
    assert main(["encode", *chosen, video]) == 0
    assert main(["decode", *chosen, tokens]) == 0
    printed = capsys.readouterr().out
    for path in (tokens, back):
        assert f"{path.encode(errors='backslashreplace').decode()}: " in printed
    assert Tokens.load(tokens).videos[0].frames == len(read_video(back).frames) == 20
    if b"$" in name or b"\xff" in name:
        assert main(["reconstruct", *chosen, video]) == 0
