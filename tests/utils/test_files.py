"""Files and folders that appear whole or not at all: where they go, what is kept, and what is cleared away."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from evatok.utils.files import (
    WriteError,
    making_folder,
    making_parents,
    replacing,
    temporary_folder,
    write_json,
    write_text,
)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        assert temporary.suffix == ".mp4" and temporary.parent == tmp_path
        raise KeyboardInterrupt
    assert names(tmp_path) == set()
    with replacing(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert names(tmp_path) == {"x.mp4"} and path.read_text() == "old"


@pytest.mark.parametrize(
    "name", ["n" * 255, "n" * 248 + ".tokens", "日" * 85, "x." + "y" * 253, "\udcff.tokens", "a\nb%d.mp4", "-o", "..x"]
)
def test_a_name_that_the_file_system_takes(name: str, tmp_path: Path) -> None:
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("x")
        assert len(os.fsencode(temporary.name)) < 143  # as encrypting file systems have it
    assert names(tmp_path) == {name}


def test_links_stay_and_what_they_lead_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real = tmp_path / "there" / "real"
    for name, target in (("one", real), ("two", "one"), ("new", "there/new")):
        os.symlink(target, tmp_path / name)
    real.write_text("old")
    for name in ("one", "two", "new"):
        write_text(tmp_path / name, name)
        assert (tmp_path / name).is_symlink() and (tmp_path / name).read_text() == name
    assert real.read_text() == "two"
    assert names(tmp_path / "there") == {"real", "new"}


def test_a_hard_link_keeps_what_it_had(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    os.link(tmp_path / "a", tmp_path / "b")
    write_text(tmp_path / "b", "new")
    assert (tmp_path / "a").read_text() == "old" and (tmp_path / "b").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "it is a folder"),
        ("pipe", "it is a pipe"),
        ("socket", "it is a socket"),
        ("device", "it is a device"),
        ("to_pipe", "it is a pipe"),
        ("loop", "too many levels of symbolic links"),
        ("to_nowhere", "there is no such folder"),
        ("nowhere/x", "there is no such folder"),
        ("file/x", "not a directory"),
        ("n" * 256, "file name too long"),
        ("日" * 86, "file name too long"),
    ],
)
def test_what_cannot_be_written_is_said_at_once_and_stays(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # sockets have short paths
    Path("folder").mkdir()
    Path("file").touch()
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    for link, target in (("device", "/dev/null"), ("to_pipe", "pipe"), ("loop", "loop"), ("to_nowhere", "nowhere/x")):
        os.symlink(target, link)
    before = {path.name: path.lstat().st_mode for path in Path().iterdir()}
    with pytest.raises(WriteError) as raised, replacing(name):
        pytest.fail("the work began")
    assert str(raised.value) == f"cannot write {name}: {said}"
    assert {path.name: path.lstat().st_mode for path in Path().iterdir()} == before
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="standard streams have no names here")
def test_a_file_that_a_stream_is_redirected_to_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("old\n")
    program = "from evatok.utils.files import write_text; write_text('/dev/stdout', 'new')"
    with open(tmp_path / "log", "a") as log:
        done = subprocess.run([sys.executable, "-c", program], stdout=log, stderr=subprocess.PIPE, text=True)
    assert done.stderr.endswith("cannot write /dev/stdout: it is what this program reads from or prints to\n")
    assert (tmp_path / "log").read_text() == "old\n" and names(tmp_path) == {"log"}


def test_permissions_are_kept_and_new_files_have_what_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "new", "x")
        with making_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert permissions(tmp_path / "new") == 0o640 and permissions(tmp_path / "folder") == 0o750
    for mode in (0o600, 0o444, 0o755):
        (tmp_path / "new").chmod(mode)
        with replacing(tmp_path / "new") as temporary:
            assert permissions(temporary) & 0o077 & ~mode == 0
            temporary.unlink()  # as some writers do
            temporary.write_text("y")
        assert permissions(tmp_path / "new") == mode and (tmp_path / "new").read_text() == "y"


KILLED = """
import os, signal, sys
from contextlib import ExitStack
from pathlib import Path
from evatok.utils.files import replacing, temporary_folder
with ExitStack() as stack:
    for path in map(Path, sys.argv[1:]):
        stack.enter_context(replacing(path)).write_text("half")
    folder = stack.enter_context(temporary_folder(path.with_name("all")))
    (folder / "a").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_runs_left_is_removed_and_what_living_ones_write_is_not(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("x.mp4", "x.mp4", "x.mp4", "y.mp4")]
    done = subprocess.run([sys.executable, "-c", KILLED, *paths])
    assert done.returncode == -signal.SIGKILL and len(names(tmp_path)) == 5
    with replacing(tmp_path / "x.mp4") as first, replacing(tmp_path / "x.mp4") as second:
        first.write_text("first")
        second.write_text("second")
        assert len(names(tmp_path)) == 4  # these, that of y.mp4, and the folder
    assert (tmp_path / "x.mp4").read_text() == "first"
    with temporary_folder(tmp_path / "all") as folder, replacing(tmp_path / "y.mp4") as temporary:
        assert names(tmp_path) == {"x.mp4", folder.name, temporary.name} and names(folder) == set()
    assert names(tmp_path) == {"x.mp4", "y.mp4"}


FULL = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
import torch
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.files import WriteError, replacing
from evatok.video.reading import VideoError, write_video
from tests.conftest import MINI

def array(path):
    with replacing(path) as temporary:
        np.save(temporary, np.zeros(10**5))

def text(path):
    with replacing(path) as temporary:
        temporary.write_text("x" * 10**5)

def model(path):
    VideoTokenizer(MINI).save_pretrained(path.parent)

def video(path):
    write_video(path, torch.randint(256, (8, 3, 128, 128), dtype=torch.uint8), fps=8)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10**4, 10**4))
for write, name in ((array, "x.npy"), (text, "x"), (model, "model.safetensors"), (video, "x.mp4")):
    try:
        write(Path(sys.argv[1], name))
    except (WriteError, VideoError) as error:
        print(error)
"""


def test_a_disk_that_is_full_is_told_in_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    for name, line in zip(("x.npy", "x", "model.safetensors"), said, strict=False):
        assert line.startswith(f"cannot write {tmp_path / name}: ")
    assert said[1].endswith("file too large") and said[2].endswith("file too large")
    assert said[3] == f"cannot write video '{tmp_path / 'x.mp4'}': file too large"
    assert names(tmp_path) == set()


def test_errors_about_other_files_keep_their_names(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), replacing(tmp_path / "x"):
        (tmp_path / "other").read_text()
    assert names(tmp_path) == set()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    new = tmp_path / "a" / "b"
    with pytest.raises(RuntimeError), making_folder(new) as folder:
        (folder / "one").touch()
        raise RuntimeError
    assert names(tmp_path) == set()
    with making_folder(new) as folder:
        (folder / "one").touch()
        assert not new.exists()
    assert names(new) == {"one"} and names(tmp_path / "a") == {"b"}
    os.symlink("c", tmp_path / "link")
    with making_folder(tmp_path / "link") as folder:
        (folder / "two").touch()
    assert (tmp_path / "link").is_symlink() and names(tmp_path / "c") == {"two"}


def test_folders_that_are_made_for_nothing_go_again_unless_others_use_them(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), making_parents(tmp_path / "a" / "b" / "c"):
        (tmp_path / "a" / "of_another").touch()
        raise RuntimeError
    assert names(tmp_path) == {"a"} and names(tmp_path / "a") == {"of_another"}
    (tmp_path / "file").touch()
    os.symlink("nowhere", tmp_path / "link")
    for name, said in (
        ("file", "it is no folder"),
        ("link", "it is no folder"),
        ("file/x", "not a directory"),
        ("n" * 256, "file name too long"),
    ):
        with pytest.raises(WriteError) as raised, making_parents(tmp_path / name):
            pytest.fail("the work began")
        assert str(raised.value) == f"cannot write {tmp_path / name}: {said}"


DENIED = """
import os, sys
from pathlib import Path
from evatok.utils.files import making_parents, replacing
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(12345), os.setuid(12345)
for manager in (replacing, making_parents):
    try:
        with manager(Path(sys.argv[1], "x")):
            print("written")
    except OSError as error:
        print(error)
"""


def test_a_folder_that_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory() as folder:  # others than root cannot reach pytest's
        os.chmod(folder, 0o555)
        done = subprocess.run([sys.executable, "-c", DENIED, folder], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"cannot write {folder}/x: its folder cannot be written to",
        f"cannot write {folder}/x: permission denied",
    ]


def test_json_has_a_line_for_each_innermost_list_and_says_the_same(tmp_path: Path) -> None:
    entries = {
        "rows": [{"a": 1, "b": [1.5, None]}, {"a": 2, "c": {}, "text": "x\n [1,\n  {2}]"}],
        "levels": [8, 16],
        "empty": [],
        "braces": "}{",
    }
    write_json(tmp_path / "a.json", entries)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == entries and list(json.loads(text)) == list(entries)
    assert '  "levels": [8, 16],' in text.splitlines() and '      "b": [1.5, null]' in text.splitlines()
