"""Files at a place: a local folder, or any URL that fsspec reaches."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

import fsspec.core
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem


class StorageError(OSError):
    """A file at a URL could not be read or written; the message is one sentence with its name and the reason."""


class Place:
    """A folder by its path or URL, such as `s3://bucket/shards`. Names are those of files directly in it.

    All methods raise StorageError.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = os.fspath(url).rstrip("/")

    def __str__(self) -> str:
        return self.url

    @property
    def local(self) -> Path | None:
        """The folder's absolute path, if it is on this machine."""
        files, path = self._files()
        return Path(path) if isinstance(files, LocalFileSystem) else None

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if it does not exist."""
        with self._named(name, "look at"):
            files, folder = self._files()
            try:
                return int(files.size(f"{folder}/{name}"))
            except FileNotFoundError:
                return None

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """`size` bytes of a file from `start` on (None: all that follow), no fewer."""
        with self._named(name, "read"):
            files, folder = self._files()
            data = cast(bytes, files.cat_file(f"{folder}/{name}", start, None if size is None else start + size))
        if size is not None and len(data) != size:
            raise StorageError(f"cannot read {self}/{name}: it ends at byte {start + len(data)} of {start + size}")
        return data

    @contextmanager
    def reading(self, name: str) -> Iterator[BinaryIO]:
        """A file to read, from any byte on."""
        with self._named(name, "read"):
            files, folder = self._files()
            file = files.open(f"{folder}/{name}", "rb")
        with file, self._named(name, "read", OSError):
            yield file

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file to write, which gets its name when all went well; until then it is called `.NAME.part`."""
        with self._named(name, "write"):
            files, folder = self._files()
            files.makedirs(folder, exist_ok=True)
            file = files.open(f"{folder}/.{name}.part", "wb")
        try:
            with self._named(name, "write", OSError):
                yield file
            with self._named(name, "write"):
                file.close()
                files.mv(f"{folder}/.{name}.part", f"{folder}/{name}")
        except BaseException:
            with suppress(Exception):  # what went wrong before is what matters
                file.close()
                files.rm_file(f"{folder}/.{name}.part")
            raise

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; what had that name is lost."""
        with self._named(old, "rename"):
            files, folder = self._files()
            files.mv(f"{folder}/{old}", f"{folder}/{new}")

    def free_space(self) -> int | None:
        """Bytes that can still be written here; None where that is not known."""
        folder = self.local
        if folder is None:
            return None
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def _files(self) -> tuple[AbstractFileSystem, str]:
        """The file system and this folder's path in it.

        Looked up at each use (fsspec keeps it): one made before a process forks must not be used after.
        """
        files, path = fsspec.core.url_to_fs(self.url)
        return files, path.rstrip("/")

    @contextmanager
    def _named(self, name: str, what: str, errors: type[Exception] = Exception) -> Iterator[None]:
        try:
            yield
        except errors as error:  # every file system has its own
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise StorageError(f"cannot {what} {self}/{name}: {reason}") from error


def place_and_name(url: str | os.PathLike[str]) -> tuple[Place, str]:
    """Split a file's path or URL into the folder and the file's name there."""
    text = os.fspath(url)
    folder, slash, name = text.rpartition("/")
    return Place(folder if slash and folder else "/" if slash else "."), name
