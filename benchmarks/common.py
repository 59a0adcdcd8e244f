"""What the benchmarks share: what they record beside their numbers, how they take turns, how they print.

A benchmark compares things within one run on one machine; seconds of different runs are not for comparing.
"""

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from jsonargparse import ArgumentParser

from evatok.cli.arguments import parse_config
from evatok.codec.selfcheck import setup
from evatok.training.versions import commit
from evatok.utils import tables
from evatok.utils.files import write_json

Row = Mapping[str, Any]
KeyT = TypeVar("KeyT")
ConfigT = TypeVar("ConfigT")
# Of the sweep of preferences, those that tables show.
JUDGED_AT = (0.8, 1.2, 1.6)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Values that hold if nothing is said, and the lines of a module's docstring as they are."""


def arguments(about: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=_Help)
    parser.add_argument("--out", type=Path, help="JSON file for the record")
    return parser


def timing_arguments(about: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes that times calls in turn."""
    parser = arguments(about)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch on the CPU")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns; the median counts")
    return parser


def read_config(kind: type[ConfigT], words: list[str]) -> ConfigT:
    """A training's config, from its file and single values, as `evatok train` takes them."""
    return parse_config(ArgumentParser(), words, kind)[0]


def environment() -> dict[str, Any]:
    """What the numbers of a run depend on besides its arguments."""
    return {"command": shlex.join(["python", "-m", *_module(), *sys.argv[1:]]), "commit": commit(), **setup()}


def _module() -> list[str]:
    main = sys.modules["__main__"]
    return [main.__spec__.name] if main.__spec__ else [Path(sys.argv[0]).name]


def in_turn(calls: Mapping[KeyT, Callable[[], Any]], repeats: int) -> dict[KeyT, float]:
    """Median seconds of each call; they take turns, so that all of them see the machine in the same states."""
    for call in calls.values():
        call()
    seconds: dict[KeyT, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            synchronize()
            start = time.perf_counter()
            call()
            synchronize()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def synchronize() -> None:
    """Waits for a GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def product_rate(dtype: torch.dtype, device: str = "cpu", size: int = 2048, repeats: int = 5) -> float:
    """Operations a second of the machine's own product of two square matrices."""
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    return 2 * size**3 / in_turn({"product": lambda: a @ b}, repeats)["product"]


def table(rows: Sequence[Row]) -> str:
    """Rows with the same columns as a Markdown table."""
    columns = list(rows[0])
    return tables.table(columns, ([_cell(row[column]) for column in columns] for row in rows))


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def report(rows: Sequence[Row], out: Path | None, **more: Any) -> None:
    """Prints a table; writes it as JSON where asked, with all else that is to be kept."""
    print(table(rows))
    write_record({**more, "rows": list(rows)}, out)


def write_record(record: Mapping[str, Any], out: Path | None) -> None:
    """Prints what a record depends on; writes both as JSON where asked."""
    surroundings = environment()
    print(", ".join(f"{name}: {value}" for name, value in surroundings.items()))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, {"environment": surroundings, **record})
