"""Lists of videos, damaged: manifests of scans and of shards, tables as people have them; opened and read from."""

import io
import shutil
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from evatok.data.folders import FolderConfig
from evatok.data.prepare.scanning import ScanConfig, scan_to
from evatok.data.prepare.sharding import plan_shards, write_shards
from evatok.data.shards import ShardsConfig
from evatok.data.sources import open_source
from evatok.video.reading import VideoError
from tests.fuzzing import damage
from tests.fuzzing.damage import Rng
from tests.video.originals import ORIGINALS, originals

_CONFIG = ScanConfig(1, seconds=30.0)
_MANIFEST, _SHARDS, _CSV, _TABLE = "manifest.parquet", "shards", "index.csv", "index.parquet"
_READ = 3  # videos


def prepare(folder: Path) -> None:
    """A folder of videos of two classes, its manifest, its shards, and two indices."""
    videos = folder / "videos"
    names = sorted(originals(folder, ORIGINALS[:3]))
    for number, name in enumerate(names):
        (videos / f"class {number % 2}").mkdir(parents=True, exist_ok=True)
        (folder / name).rename(videos / f"class {number % 2}" / name)
    paths = [f"class {number % 2}/{name}" for number, name in enumerate(names)]
    with redirect_stderr(io.StringIO()):  # their bars
        scan_to(videos, folder / _MANIFEST, _CONFIG)
        write_shards(plan_shards(folder / _MANIFEST, str(folder / _SHARDS), config=_CONFIG))
    rows = [f"{path},{path.partition('/')[0]}" for path in paths]
    (folder / _CSV).write_text("\n".join(["path,label", *rows]))
    table = pyarrow.table({"path": paths, "label": [path.partition("/")[0] for path in paths]})
    pyarrow.parquet.write_table(table, folder / _TABLE)


def place(folder: Path, target: Path, kind: str, rng: Rng) -> None:
    """One of the lists, damaged."""
    names = [_CSV] if kind in _TEXTS else [_MANIFEST, _SHARDS, _TABLE]
    name = damage.pick(names, rng)
    source, made = folder / name, target / name
    if name == _SHARDS:
        shutil.copytree(source, made)
        source, made = source / _MANIFEST, made / _MANIFEST
    made.write_bytes(KINDS[kind](source.read_bytes(), rng))


def use(folder: Path, target: Path) -> set[str]:
    """Opens the videos that a list lists, and reads some."""
    path, videos = next(target.iterdir()), str(folder / "videos")
    config = ShardsConfig(str(path), min_frames=2) if path.is_dir() else FolderConfig(videos, str(path), min_frames=2)
    source = open_source(config)
    for number in range(min(len(source), _READ)):
        entry = source.describe(number)
        with suppress(VideoError):  # which a run skips
            assert source.read(number, 0, 2, 1).shape == (2, 3, *entry.size)
    if path.name == _MANIFEST:
        assert str(plan_shards(path, str(target / "new"), config=_CONFIG))
    return set()


def _tables(change: Any) -> damage.Damage:
    """Changes of the columns, by their names; the marks of a manifest stay."""

    def change_table(data: bytes, rng: Rng) -> bytes:
        table = pyarrow.parquet.read_table(io.BytesIO(data))
        columns = change({name: table[name] for name in table.column_names}, rng)
        changed = pyarrow.table(columns).replace_schema_metadata(table.schema.metadata)
        made = io.BytesIO()
        pyarrow.parquet.write_table(changed, made)
        return made.getvalue()

    return change_table


_VALUES: tuple[Any, ...] = (
    *(None, 0, 1, -1, 2, 2**31, 2**62, 0.5, float("nan"), float("inf"), -1e308, True, "", "x", "../../..", "/", "a\0b"),
    *("\n", "/dev/zero", "/proc/self/mem", "class 0", ".", "s3://none/x", "z" * 5000, b"\xff\xfe", [1], {"a": 1}),
)


def _column(columns: dict[str, Any], rng: Rng) -> dict[str, Any]:
    """A column of strange values, of one or of them in some rows."""
    name = damage.pick(list(columns), rng)
    count, value = len(columns[name]), damage.pick(_VALUES, rng)
    try:
        kept = columns[name].to_pylist()
        mixed = pyarrow.array([value if rng.random() < 0.5 else each for each in kept], columns[name].type)
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
        mixed = pyarrow.array([value] * count)
    return columns | {name: mixed}


def _dropped(columns: dict[str, Any], rng: Rng) -> dict[str, Any]:
    name = damage.pick(list(columns), rng)
    return {key: column for key, column in columns.items() if key != name}


def _renamed(columns: dict[str, Any], rng: Rng) -> dict[str, Any]:
    first, second = (damage.pick([*columns, "PATH", " label ", ""], rng) for _ in range(2))
    return {(second if key == first else key): column for key, column in columns.items()}


def _rows(columns: dict[str, Any], rng: Rng) -> dict[str, Any]:
    """Rows gone, twice, or in another order."""
    count = len(next(iter(columns.values())))
    taken = rng.integers(0, count, int(rng.integers(0, 2 * count)))
    return {name: column.take(pyarrow.array(taken, pyarrow.int64())) for name, column in columns.items()}


def _cells(data: bytes, rng: Rng) -> bytes:
    """Values of a CSV file by other ones."""
    lines = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(int(rng.integers(1, 4))):
        line = damage.pick(lines, rng)
        values = ["", '"', '""', "a,b", "\n", "\x00", "../..", "/dev/zero", "x" * 200_000, "=1+1", "\ufeff", ";", "\t|"]
        line[int(rng.integers(len(line)))] = damage.pick(values, rng)
    return "\n".join(map(",".join, lines)).encode()


def _encoded(data: bytes, rng: Rng) -> bytes:
    encodings = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be", "cp1252", "utf-7", "cp037"]
    text = damage.pick(["# lists videos\n", "sep=;\n", "", "é\n", '"'], rng) + data.decode()
    return text.replace(",", damage.pick(list(",;\t|:"), rng)).encode(damage.pick(encodings, rng))


_TEXTS: dict[str, damage.Damage] = {
    "unchanged": damage.unchanged,
    "CSV: bytes": damage.damaged,
    "CSV: values": _cells,
    "CSV: of other tongues": _encoded,
}
KINDS: dict[str, damage.Damage] = {
    **_TEXTS,
    "table: unchanged": _tables(lambda columns, rng: columns),
    "table: bytes": damage.damaged,
    "table: bytes of the end": lambda data, rng: damage.flip(data[::-1], rng, 600, int(2 ** rng.integers(0, 5)))[::-1],
    "table: column of others": _tables(_column),
    "table: column gone": _tables(_dropped),
    "table: column renamed": _tables(_renamed),
    "table: rows": _tables(_rows),
}
