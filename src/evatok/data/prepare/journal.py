"""What a scan has found out so far, so that one that was killed goes on where it was."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evatok.data.manifest import ManifestRow
from evatok.data.storage import StorageError
from evatok.utils.files import write_text

VERSION = 1


class Journal:
    """Rows of a manifest that is not written yet: JSON lines, appended to as videos are done.

    A row counts only as long as its file has the size and the time of its last change that it had. A last line
    that was torn is dropped, and so is a journal of another folder or version. StorageError if it cannot be written.
    """

    def __init__(self, path: Path, folder: str) -> None:
        self._path = path
        self._known: dict[str, tuple[int, ManifestRow]] = {}
        head = {"journal": VERSION, "folder": folder}
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        whole = [entry for entry in map(_parsed, lines) if entry is not None]
        if whole[:1] != [head]:
            whole = [head]
        for entry in whole[1:]:
            row = ManifestRow(**entry["row"])
            self._known[row.path] = entry["mtime"], row
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, "".join(map(_line, whole)))
            self._file = path.open("a", encoding="utf-8")

    def find(self, path: str, size: int, mtime: int) -> ManifestRow | None:
        """The row of a file that has not changed since."""
        found = self._known.get(path)
        return found[1] if found and found[0] == mtime and found[1].bytes == size else None

    def add(self, row: ManifestRow, mtime: int) -> None:
        """Note a row, and the time of its file's last change in nanoseconds."""
        with self._writing():
            self._file.write(_line({"mtime": mtime, "row": vars(row)}))
            self._file.flush()

    def close(self) -> None:
        """Leave the journal for later."""
        with self._writing():
            self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"cannot write {self._path}, the scan's journal: {error.strerror}") from error


def journal_beside(path: Path) -> Path:
    """Where the journal of a manifest's scan is kept."""
    return path.with_name(f".{path.name}.journal")


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry) + "\n"


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
