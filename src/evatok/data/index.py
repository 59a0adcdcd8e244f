"""Lists of videos with their labels, as tables have them: CSV and Parquet files."""

import csv
from pathlib import Path

import pyarrow.parquet

from evatok.data.listing import Listed


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
