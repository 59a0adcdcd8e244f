"""Settings of threads and of memory on a CPU: seconds of training steps, and of encoding with decoding, under each.

Every measurement is a process of its own that begins with the settings; the processes take turns. All do the same:
steps of stage 1 by the preset `tiny` under the same random assignments, on clips in memory; such steps on clips that
another process reads meanwhile (`fed`); clips to ids and back in float32. Of each step the fastest turn counts: on a
machine that others use too, what slows a step down is theirs. Gains are over the defaults of
evatok (`evatok._openmp`), torch and the C library.

Then two processes train side by side, as where a machine is shared: there it matters how threads wait for each other.

    python -m benchmarks.cpu_defaults --out docs/results/cpu-defaults.json
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from tqdm import tqdm

from benchmarks.children import in_child, side_by_side
from benchmarks.common import Row, arguments, report, table
from benchmarks.steps import run_steps, step_config
from evatok.losses.reconstruction import ReconstructionLossConfig
from evatok.nn.packed import Layout
from evatok.tokenizer.config import PRESETS, TokenizerConfig
from evatok.tokenizer.model import VideoTokenizer

DEFAULTS, FLUSHED = "defaults", "denormal numbers count as 0"
WAITING = ("waiting threads spin as OpenMP has it", DEFAULTS, "waiting threads sleep")
ON_CPU = {"CUDA_VISIBLE_DEVICES": ""}
# What was freed stays with the process, which need not be given it, and clear it, page by page again.
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
HUGE = {"THP_MEM_ALLOC_ENABLE": "1"}
SETTINGS: dict[str, dict[str, str]] = {
    DEFAULTS: {},
    FLUSHED: {},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "waiting threads sleep": {"OMP_WAIT_POLICY": "passive"},
    "waiting threads spin as OpenMP has it": {"GOMP_SPINCOUNT": "300000"},
    "waiting threads spin on": {"OMP_WAIT_POLICY": "active"},
    "threads bound to cores": {"OMP_PROC_BIND": "true"},
    "freed memory kept": KEPT,
    "one arena": {"MALLOC_ARENA_MAX": "1"},
    "huge pages for tensors": HUGE,
    "huge pages by malloc": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "freed memory kept, huge pages for tensors": KEPT | HUGE,
}


class Seconds(NamedTuple):
    """Of each step of training, each that a reading process feeds, each encoding and decoding of as many clips."""

    training: list[float]
    fed: list[float]
    coding: list[float]


def seconds_of(model: TokenizerConfig, batch: int, steps: int, flush: bool) -> Seconds:
    """What all of them take in this process, which some calls have warmed up."""
    torch.set_flush_denormal(flush)
    fed = training(model, batch, steps, fed=True)
    return Seconds(training(model, batch, steps, fed=False), fed, _coding(model, batch, steps))


def training(model: TokenizerConfig, batch: int, steps: int, fed: bool) -> list[float]:
    """Seconds of each step, on clips that a process of its own reads or on clips in memory."""
    loss = ReconstructionLossConfig(lpips_net="alex", perceptual_frames=8)
    with tempfile.TemporaryDirectory() as folder:
        config = step_config(Path(folder), model, batch, 1, loss, steps + 2)
        return run_steps(replace(config, loop=replace(config.loop, workers=int(fed))), read=fed).seconds


def _coding(model: TokenizerConfig, batch: int, steps: int) -> list[float]:
    tokenizer = VideoTokenizer(model).eval()
    layout, size = Layout((model.default_assignment,) * batch), (model.side, model.side)
    video = torch.rand(batch, model.clip_frames, 3, *size) * 2 - 1
    times = [time.perf_counter()]
    with torch.inference_mode():
        for _ in range(steps + 2):
            ids, _ = tokenizer.encode_blocks(video, layout)
            tokenizer.decode_blocks(ids, layout, size)
            times.append(time.perf_counter())
    return [b - a for a, b in pairwise(times[2:])]


def measure(model: TokenizerConfig, names: Sequence[str], batch: int, steps: int, turns: int) -> list[Row]:
    """A row for each setting, the defaults first."""
    order = [DEFAULTS, *(name for name in names if name != DEFAULTS)]
    found: dict[str, list[Seconds]] = {name: [] for name in order}
    for turn in tqdm(range(turns), unit="turn"):
        # The other way round in every second turn: none is always measured behind the same one.
        for name in order[:: -1 if turn % 2 else 1]:
            variables = ON_CPU | SETTINGS[name]
            found[name].append(in_child(seconds_of, model, batch, steps, name == FLUSHED, environment=variables))
    return [row_of(name, found[name], found[DEFAULTS]) for name in order]


def measure_shared(model: TokenizerConfig, names: Sequence[str], batch: int, steps: int) -> list[Row]:
    """A row for each setting, of two processes that train at the same time."""
    rows: list[Row] = []
    for name in names:
        both = side_by_side(2, training, model, batch, steps, False, environment=ON_CPU | SETTINGS[name])
        rows.append({"two trainings at once": name, "seconds a step": fmean(map(fmean, both))})
    return rows


def row_of(name: str, found: Sequence[Seconds], defaults: Sequence[Seconds]) -> Row:
    """Seconds of a setting, and its gains."""
    row: dict[str, object] = {"setting": name}
    for kind in Seconds._fields:
        ours, theirs = (fastest([getattr(turn, kind) for turn in turns]) for turns in (found, defaults))
        row |= {f"{kind}, s": ours, f"{kind} gains": f"{theirs / ours - 1:+.1%}"}
    return row | {"variables": " ".join(f"{key}={value}" for key, value in SETTINGS[name].items())}


def fastest(turns: Sequence[Sequence[float]]) -> float:
    """Mean over steps of the least seconds that a step took in any turn."""
    return fmean(map(min, zip(*turns, strict=True)))


def main() -> None:
    """Measures every setting in turn."""
    parser = arguments(__doc__)
    parser.add_argument("--settings", choices=list(SETTINGS), nargs="+", default=list(SETTINGS))
    parser.add_argument("--preset", choices=list(PRESETS), default="tiny")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8, help="of training, and codings, that are timed in a process")
    parser.add_argument("--turns", type=int, default=4)
    given = parser.parse_args()
    rows = measure(PRESETS[given.preset], given.settings, given.batch, given.steps, given.turns)
    shared = measure_shared(PRESETS[given.preset], WAITING, given.batch, 3)
    print(table(shared))
    report(rows, given.out, shared=shared, preset=given.preset, batch=given.batch)


if __name__ == "__main__":
    main()
