"""What is said of what ends a command."""

import errno
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from evatok.cli import main
from evatok.cli.errors import told
from evatok.cli.process import complain
from evatok.utils.files import WriteError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "videos/a.mp4"),
            "videos/a.mp4: no such file or directory",
        ),
        (PermissionError(errno.EACCES, "Permission denied", b"\xff"), "\udcff: permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
        (OSError("it is too small"), "it is too small"),
        (WriteError(errno.ENOSPC, "no space left on device", "x"), "cannot write x: no space left on device"),
        (MemoryError(), "there is not enough memory for this"),
        (RecursionError("maximum recursion depth exceeded"), "what was given is nested too deeply"),
        (OverflowError("no float"), "a number that was given is too large: no float"),
        (zipfile.BadZipFile("no zip"), "an archive cannot be read: no zip"),
        (tarfile.ReadError("no tar"), "an archive cannot be read: no tar"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "broken pipe"),  # of a child process, say
    ],
)
def test_what_comes_of_the_input_is_one_sentence(error: Exception, said: str) -> None:
    assert told(error, "encode") == (said, 1)


def test_a_tensor_that_is_too_large() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**62, dtype=torch.uint8)
    assert told(raised.value, "encode") == ("there is not enough memory for this", 1)


def test_a_sentence_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    complain("it broke\nwhere it was read\r\n")
    assert capsys.readouterr().err == "evatok: it broke where it was read\n"


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("x"), AssertionError(), ImportError("x")])
def test_what_is_a_fault_of_evatok_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        told(error, "encode")
    assert raised.value is error


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\xfa\n", b"[" * 10**3, b"\x00", b"optimizer: {lr: %s}" % (b"9" * 400), b"loop: &a {}\nloop.loop: *a"],
)
def test_a_config_that_is_none(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.yaml").write_bytes(content)
    assert main(["train", "proxy", "--config", str(tmp_path / "broken.yaml")]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("evatok: ")


@pytest.mark.parametrize("limit", ["--memory", "--seconds"])
@pytest.mark.parametrize("value", ["inf", "9" * 400])
def test_a_limit_without_end_is_none(
    limit: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "scan", str(tmp_path / "none"), "-o", str(tmp_path / "m.parquet"), limit, value]) == 1
    assert capsys.readouterr().err == f"evatok: there is no folder or video {tmp_path / 'none'}\n"
