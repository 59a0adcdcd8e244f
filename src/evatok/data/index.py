"""Lists of videos with their labels, as tables have them: CSV and Parquet files."""

import codecs
import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

import pyarrow
import pyarrow.parquet

from evatok.data.listing import Listed

_DELIMITERS = ",;\t|"
# Marks that encodings put before a text; that of UTF-16 begins that of UTF-32.
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
_MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# Where in an index something is, and the path and the label that are there.
_Row = tuple[str, object, object]


def find_index(root: Path, index: str) -> Path:
    """The file that `index` names, by its own path or by one in the folder. ValueError if there is none."""
    path = Path(index)
    path = path if path.is_absolute() or path.exists() else root / path
    if not path.is_file():
        raise ValueError(f"index {index} is neither a file nor one in {root}")
    return path


def read_index(path: Path, root: Path) -> list[Listed]:
    """Paths, relative to `root` or absolute, and labels that a CSV or Parquet file lists, in its order.

    A CSV file is in UTF-8, or in UTF-16 or UTF-32 with a byte order mark. Before the names of its columns there may be
    lines that begin with #; commas, semicolons, tabs or bars are between them. Capitals in names, and spaces around
    names and values, do not matter.

    Raises:
        ValueError: the file lists no paths, or something in it is none; the sentence says where.
    """
    try:
        with path.open("rb") as file:
            parquet = path.suffix.lower() == ".parquet" or file.read(4) == b"PAR1"
        rows = _parquet_rows(path) if parquet else _csv_rows(path)
        return [(_file(value, root, where), _label(label, where)) for where, value, label in rows]
    except OSError as error:
        raise ValueError(f"cannot read index {path}: {error.strerror or error}") from error


def _csv_rows(path: Path) -> Iterator[_Row]:
    lines = io.StringIO(_text(path), newline="")
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip(f" \r\n{_DELIMITERS}"))
    # A line `sep=;` is Excel's.
    above, header = next((each for each in numbered if not each[1].startswith(("#", "sep="))), (0, ""))
    if not header:
        raise ValueError(f"index {path} is empty; it needs a line with the names of its columns, such as path,label")
    try:
        delimiter = next((each for each in _DELIMITERS if "path" in _folded(_names(header, each))), ",")
        names = _names(header, delimiter)
    except csv.Error as error:
        raise ValueError(f"index {path}, line {above}: the names of its columns cannot be read ({error})") from error
    column, labels = _columns(path, names)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        where = f"index {path}, line {above + reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{where}: a value in quotes does not end as it should ({error})") from error
        if row is None:
            return
        values = [value.strip() for value in row]
        if not any(values):
            continue
        if len(values) < len(names) or any(values[len(names) :]):
            raise ValueError(
                f"{where}: there are {len(values)} values, {_shown(row)}, for the columns {', '.join(names)[:200]}; "
                f"one with {delimiter!r} in it needs quotes"
            )
        yield where, values[column], None if labels is None else values[labels]


def _names(header: str, delimiter: str) -> list[str]:
    bare = header.rstrip(f" \r\n{delimiter}")
    return [name.strip() for name in next(csv.reader([bare], delimiter=delimiter, skipinitialspace=True))]


def _text(path: Path) -> str:
    data = path.read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start)
        found, name = _shown(data.split(b"\n")[line].rstrip()), encoding.upper().removesuffix("-SIG")
        raise ValueError(f"index {path}, line {line + 1}: {found} is not in {name}; save it as UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            f"index {path}, line {line}: there is a NUL byte, which no text in UTF-8 has; save it as UTF-8"
        )
    return text


def _parquet_rows(path: Path) -> Iterator[_Row]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            column, labels = _columns(path, names)
            table = file.read([names[column], *([] if labels is None else [names[labels]])])
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"index {path} cannot be read as a Parquet file: {reason}") from error
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"index {path}, row {number}", row[names[column]], None if labels is None else row[names[labels]]


def _columns(path: Path, names: Sequence[str]) -> tuple[int, int | None]:
    """Which column has the paths, and which the labels, if any does."""
    folded = _folded(names)
    for name in ("path", "label"):
        if folded.count(name) > 1:
            raise ValueError(f"index {path} has {folded.count(name)} columns '{name}': {', '.join(names)[:200]}")
    if "path" not in folded:
        raise ValueError(f"index {path} has the columns {', '.join(names)[:200]}, but 'path' is not among them")
    return folded.index("path"), folded.index("label") if "label" in folded else None


def _folded(names: Sequence[str]) -> list[str]:
    return [name.strip().casefold() for name in names]


def _file(value: object, root: Path, where: str) -> str:
    """A path as it is written in a list: one of Windows, one of a home folder or a file's address as well."""
    if not isinstance(value, str):
        raise ValueError(f"{where}: its path is {_shown(value)}, which is no text")
    name = value.strip()
    if not name:
        raise ValueError(f"{where}: its path is empty")
    if "\0" in name:
        raise ValueError(f"{where}: its path {_shown(name)} has a NUL byte, which no file's name has")
    if name.startswith("file:"):
        name = unquote(name.removeprefix("file:").removeprefix("//localhost"))
    elif "://" in name:
        raise ValueError(f"{where}: {_shown(name)} is an address; an index lists files")
    if name.startswith("~/"):
        name = os.path.expanduser(name)
    if "\\" in name and not os.path.exists(root / name):
        name = name.replace("\\", "/")
    return Path(name).as_posix()


def _label(value: object, where: str) -> str:
    if value is None or value != value:  # which is what a number that is none is
        return ""
    if not isinstance(value, str | int | float):
        raise ValueError(f"{where}: its label is {_shown(value)}, which is neither text nor a number")
    return str(value).strip()


def _shown(value: object) -> str:
    return f"{value!r:.100}"
