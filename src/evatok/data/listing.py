"""Which files a folder holds, and of which classes its videos are: what is found there, or what an index says."""

import csv
from collections.abc import Collection
from pathlib import Path

import pyarrow.parquet

PICTURE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

VIDEO_SUFFIXES = {".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4"}
VIDEO_SUFFIXES |= {".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv", ".y4m"}

# A path relative to the folder, and a label, "" where there is none.
Listed = tuple[str, str]


def videos_of(root: Path) -> list[Listed]:
    """Paths of video files, each with the name of its subfolder ("" directly in it)."""
    paths = [Path(key) for key in files_of(root, VIDEO_SUFFIXES)]
    return [(path.as_posix(), path.parts[0] if len(path.parts) > 1 else "") for path in paths]


def files_of(root: Path, suffixes: Collection[str]) -> list[str]:
    """Paths within the folder, subfolders included, of files that end in one of these; capitals do not matter."""
    files = (path for path in root.rglob("*") if path.suffix.lower() in suffixes)
    return [path.as_posix() for path in sorted(path.relative_to(root) for path in files)]


def find_index(root: Path, index: str) -> Path:
    """The file that `index` names, by its own path or by one in the folder. ValueError if there is none."""
    path = Path(index)
    path = path if path.is_absolute() or path.exists() else root / path
    if not path.is_file():
        raise ValueError(f"index {index} is neither a file nor one in {root}")
    return path


def read_index(path: Path) -> list[Listed]:
    """Paths and labels that a CSV or Parquet file lists. ValueError if it has no column of paths."""
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path)
    if rows and "path" not in rows[0]:
        raise ValueError(f"index {path} has the columns {', '.join(rows[0])}, but 'path' is not among them")
    return [(row["path"], row.get("label") or "") for row in rows]


def _csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _parquet_rows(path: Path) -> list[dict[str, str]]:
    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
