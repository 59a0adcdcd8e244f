"""Damages videos of many codecs in many ways, scans and reads them, and counts what came of it.

    python -m benchmarks.fuzz --count 960 --out docs/results/fuzz.json

The short form is `tests/data/test_fuzz.py`. Ends with 1 if a good video cannot be read to the frame, or a bad one has
another reason the second time.
"""

import hashlib
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.common import arguments, write_record
from evatok.data.manifest import Manifest
from evatok.data.prepare.children import Failure, Limits, in_children
from evatok.data.prepare.scanning import ScanConfig, scan_to
from tests.video.mutants import KINDS, Examined, Mutant, examine, mutants, originals


def main() -> None:
    """Runs the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=960, help="damaged videos")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, help="that decode at a time; without it, as many as CPUs")
    given = parser.parse_args()
    config = ScanConfig(given.processes, Limits(seconds=30.0))
    with tempfile.TemporaryDirectory() as folder:
        record = fuzz(Path(folder), given.seed, given.count, config)
    print(json.dumps(record, indent=2))
    write_record(record, given.out)
    sys.exit(bool(record["contradictions"]))


def fuzz(folder: Path, seed: int, count: int, config: ScanConfig) -> dict[str, Any]:
    """What came of `count` damaged videos of a seed."""
    for name in ("originals", "mutants"):
        (folder / name).mkdir()
    made = originals(folder / "originals")
    damaged = mutants(made, seed, count)
    for mutant in damaged:
        (folder / "mutants" / mutant.name).write_bytes(mutant.data)
    started = time.perf_counter()
    manifest = scan_to(folder / "mutants", folder / "mutants.parquet", config)
    seconds = time.perf_counter() - started
    read = examined(folder / "mutants", manifest, config)
    kinds = {mutant.name: mutant for mutant in damaged}
    reasons = Counter(row.reason for row in manifest.bad if row.reason)
    return {
        "videos": count,
        "originals": len(made),
        "good": len(manifest.good),
        "bad": len(manifest.bad),
        "by_kind": by_kind(manifest, kinds),
        "reasons": dict(reasons.most_common()),
        "beyond_limits": beyond_limits(manifest, kinds),
        "contradictions": contradictions(manifest, read),
        "good_but_not_the_same_twice": sum(isinstance(each, Examined) and not each.same for each in read),
        "peak_memory_mib": max(each.memory for each in read if isinstance(each, Examined)) // 2**20,
        "limits": {"memory_gib": config.limits.memory / 2**30, "seconds": config.limits.seconds},
        "scan_seconds": round(seconds, 1),
        "seed": seed,
        "originals_sha256": hashlib.sha256(b"".join(made[name] for name in sorted(made))).hexdigest(),
    }


def examined(folder: Path, manifest: Manifest, config: ScanConfig) -> list[Examined | Failure]:
    """Every video decoded and read again, in other children with the same limits."""
    paths = [str(folder / row.path) for row in manifest]
    seconds = [config.limits.seconds_for(row.bytes) for row in manifest]
    found = dict(in_children(examine, paths, seconds, config.limits.memory, config.processes or 1))
    return [found[number] for number in range(len(paths))]


def by_kind(manifest: Manifest, kinds: dict[str, Mutant]) -> dict[str, dict[str, int]]:
    """Good and bad videos by the kind of damage."""
    good = Counter(kinds[row.path].kind for row in manifest.good)
    bad = Counter(kinds[row.path].kind for row in manifest.bad)
    return {kind: {"good": good[kind], "bad": bad[kind]} for kind in KINDS}


def beyond_limits(manifest: Manifest, kinds: dict[str, Mutant]) -> list[dict[str, str]]:
    """Videos that crashed a child, hung it or took its memory."""
    rows = [row for row in manifest.bad if str(row.reason).startswith("reading it")]
    return [{"video": row.path, "damage": kinds[row.path].kind, "reason": str(row.reason)} for row in rows]


def contradictions(manifest: Manifest, read: list[Examined | Failure]) -> list[str]:
    """Videos of which reading says something else than the scan."""
    wrong = []
    for row, found in zip(manifest, read, strict=True):
        frames = row.frames or 0
        same = found.reason == row.reason and (isinstance(found, Failure) or found.frames == frames)
        if not same:
            wrong.append(f"{row.path}: scanned: {row.reason or frames}; read: {found}")
    return wrong


if __name__ == "__main__":
    main()
