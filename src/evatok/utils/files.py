"""Files and folders that appear whole or not at all, and cost nothing that was there before.

What is being written has a temporary name beside its own, and is locked. So a run can tell what a killed run has
left, which it removes when it writes the same, from what a living one is at.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # there are no such locks on Windows: nothing that was left is removed
    fcntl = None  # type: ignore[assignment]

_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}
# Of a temporary name, so that it is short however long the file's own is: characters of the stem, bytes of the suffix.
_STEM, _SUFFIX = 24, 16


class WriteError(OSError):
    """A file or folder could not be written; the message is one sentence with its name and the reason."""

    def __str__(self) -> str:
        return f"cannot write {self.filename}: {self.strerror}"


def reason(error: Exception) -> str:
    """What an error of the system says, without its number and the file's name; of any other, its message."""
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)


def destination(path: str | Path) -> Path:
    """What a file of that name is written to: `path`, or what it leads to as a link, which need not exist yet.

    Raises:
        WriteError: something else than a plain file is there, or one that is a standard stream of this process, or none
            can be written there.
    """
    path = Path(path)
    with _naming(path):
        with suppress(FileNotFoundError):
            found = path.stat()
            if kind := _KINDS.get(stat.S_IFMT(found.st_mode)):
                raise WriteError(errno.EINVAL, f"it is a {kind}", str(path))
            if _is_stream(found):
                raise WriteError(errno.EINVAL, "it is what this program reads from or prints to", str(path))
        target = _followed(path)
        if not target.parent.is_dir():
            raise WriteError(errno.ENOENT, "there is no such folder", str(path))
        if not os.access(target.parent, os.W_OK):
            raise WriteError(errno.EACCES, "its folder cannot be written to", str(path))
        return target


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`, of the same suffix if that is short; on success it becomes `path`.

    On an exception the temporary file is removed, and whatever was at `path` stays as it was. A link stays one: what
    it leads to is replaced. A file that is replaced hands on its permissions.

    Raises:
        WriteError: the file cannot be written, as `destination` says, or as the system does.
    """
    path = Path(path)
    target, before = destination(path), None
    with suppress(FileNotFoundError):
        before = stat.S_IMODE(target.stat().st_mode)
    with _temporary(path, target, 0o666 if before is None else before & 0o777 | 0o600) as temporary:
        # Some writers put a file of their own in its place, which nobody else may read.
        permissions = stat.S_IMODE(temporary.stat().st_mode) if before is None else before
        yield temporary
        temporary.chmod(permissions)
        os.replace(temporary, target)


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder beside `path`, which takes its name on success and is removed on an exception."""
    target = _followed(path)
    with making_parents(target.parent), _temporary(path, target, None) as temporary:
        yield temporary
        os.replace(temporary, target)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder beside `path`, of a name that tells of it; in the end it is removed."""
    with _temporary(path, path, None) as temporary:
        yield temporary
        _remove(temporary)


@contextmanager
def making_parents(folder: Path) -> Iterator[None]:
    """Makes a folder, and those that it is in, where there is none; on an exception empty ones of them go again.

    Raises:
        WriteError: it cannot be made.
    """
    made: list[Path] = []
    try:
        with _naming(folder):
            if os.path.lexists(folder) and not folder.is_dir():
                raise WriteError(errno.ENOTDIR, "it is no folder", str(folder))
            made = [each for each in (folder, *folder.parents) if not each.exists()]
            folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in made:
            with suppress(OSError):
                each.rmdir()
        raise


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file in UTF-8 through `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, entries: Any) -> None:
    """Writes what JSON holds through `replacing`: indented, but a list or object that holds no other is on one line."""
    text = json.dumps(entries, indent=2)  # within whose strings no line ends
    write_text(path, re.sub(r"([\[{])([^\[\]{}]*)([\]}])", _on_a_line, text) + "\n")


def _on_a_line(innermost: re.Match[str]) -> str:
    start, inside, end = innermost.groups()
    return start + re.sub(r"\n *", " ", inside).strip() + end


def _is_stream(found: os.stat_result) -> bool:
    """Whether a file is a standard stream's, as /dev/stdout is where that has been redirected."""
    for stream in (0, 1, 2):
        with suppress(OSError):
            if os.path.samestat(found, os.fstat(stream)):
                return True
    return False


def _followed(path: Path) -> Path:
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def _naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turns an error of the system into one that names `path`, unless it is about something else than `temporary`."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        if temporary and error.filename is not None and temporary.name not in str(error.filename):
            raise
        # Some that pass on the system's errors have longer words for them.
        said = os.strerror(error.errno).lower() if error.errno else str(error)
        raise WriteError(error.errno or errno.EIO, said, str(path)) from error


@contextmanager
def _temporary(path: Path, target: Path, permissions: int | None) -> Iterator[Path]:
    """A locked file of these permissions beside `target`, or with None a folder; on an exception it is removed."""
    with _naming(path):
        temporary, handle = _new(path, target, permissions)
    try:
        with _naming(path, temporary):
            yield temporary
    except BaseException:
        _remove(temporary)
        raise
    finally:
        if handle is not None:
            os.close(handle)


def _new(path: Path, target: Path, permissions: int | None) -> tuple[Path, int | None]:
    """A temporary file or folder and, if it is locked, the handle that keeps it so.

    Names are numbered: the next one is taken where a run that is alive has the first.
    """
    mark = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _SUFFIX else ""
    names = (target.with_name(f".{target.stem[:_STEM]}-{mark}-{number}.part{suffix}") for number in count())
    for name in names:
        _remove_left(name)
        with suppress(FileExistsError):
            handle = _make(name, permissions)
            if handle is None or _lock(handle, name):
                break
    while _remove_left(next(names)):
        pass
    return name, handle


def _make(name: Path, permissions: int | None) -> int | None:
    """Makes a file or folder, and opens it for its lock."""
    if permissions is None:
        name.mkdir()
        return os.open(name, os.O_RDONLY) if fcntl else None
    handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, permissions)
    if fcntl:
        return handle
    os.close(handle)
    return None


def _lock(handle: int, name: Path) -> bool:
    """Locks what has just been made; False if another run has taken it for a leftover in between."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_still(handle, name):
            return True
    except BlockingIOError:
        pass
    except OSError:  # this file system knows no locks: then nobody takes it for one
        return True
    os.close(handle)
    return False


def _remove_left(name: Path) -> bool:
    """Removes what a killed run has left, if this is it: nobody holds its lock."""
    if not fcntl:
        return False
    try:
        handle = os.open(name, (os.O_RDONLY if name.is_dir() else os.O_RDWR) | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_still(handle, name):
            _remove(name)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def _is_still(handle: int, name: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), name.stat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
