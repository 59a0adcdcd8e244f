"""Damages videos, token files, configs, models and runs in many ways, uses them, and counts what comes of it.

    python -m benchmarks.fuzz --videos 960 --count 400 --out docs/results/fuzz.json

Every input is used in a child process with limits of time and memory: it is read, or refused in one sentence. Videos
are scanned and read, and both must agree. The short forms are `tests/video/test_fuzz.py` and
`tests/fuzzing/test_answers.py`. Ends with 1 if anything else comes of an input: a traceback, a hang, something that is
left behind, more memory than `MOST_MEMORY`, an undamaged input that is refused, or a good video that cannot be read to
the frame. A video or a picture may have FFmpeg ask for one absurd piece of memory, which it does not get: that is "too
much memory", and the record has what was taken until then.
"""

import hashlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.children import peak_memory, restart_peak_memory
from benchmarks.common import arguments, write_record
from evatok.data.manifest import Manifest
from evatok.data.prepare.children import Failure, in_children
from evatok.data.prepare.scanning import ScanConfig, decode_whole, scan_to
from evatok.video.sources import VideoError
from tests.fuzzing.answers import FAMILIES, Answer, answers, ended, inputs
from tests.video.mutants import Examined, Mutant, examine, mutants
from tests.video.originals import originals

MOST_MEMORY = 200 * 10**6  # bytes over what a process with the models has before
OF_PICTURES = ("videos", "encoding")


def main() -> None:
    """Runs the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--videos", type=int, default=960, help="damaged videos")
    parser.add_argument("--count", type=int, default=400, help="damaged inputs of every other family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="that use inputs at a time")
    given = parser.parse_args()
    config = ScanConfig(given.processes, seconds=30.0)
    with tempfile.TemporaryDirectory() as folder:
        record = fuzz(Path(folder), given.seed, given.videos, given.count, config)
    print(json.dumps(record, indent=2, ensure_ascii=False))
    write_record(record, given.out)
    sys.exit(bool(record["wrong"] or record["families"]["videos"]["contradictions"]))


def fuzz(folder: Path, seed: int, videos: int, count: int, config: ScanConfig) -> dict[str, Any]:
    """What came of so many damaged `videos`, and of `count` inputs of each of the other families."""
    started = time.perf_counter()
    given = [each for family in FAMILIES for each in inputs(family, folder / family, seed, count)]
    several = list(zip(given, answers(given, config), strict=True))
    kinds = {family: [each.kind for each in given if each.family == family] for family in FAMILIES}
    found = {family: [answer for each, answer in several if each.family == family] for family in FAMILIES}
    kinds["videos"], found["videos"], more = fuzz_videos(folder / "videos", seed, videos, config)
    records = {family: summary(kinds[family], found[family]) for family in found}
    records["videos"] |= more
    every = [answer for several in found.values() for answer in several]
    wrong = [
        {"family": family, "number": number, "damage": kind, "answer": answer.kind, "told": answer.told or answer.left}
        for family in found
        for number, (kind, answer) in enumerate(zip(kinds[family], found[family], strict=True))
        if is_wrong(family, kind, answer)
    ]
    return {
        "inputs": len(every),
        "answers": dict(Counter(answer.kind for answer in every)),
        "tracebacks": sum(answer.kind in ("traceback", "death") for answer in every),
        "hangs": sum(answer.kind == "too long" for answer in every),
        "left_behind": sum(len(answer.left) for answer in every),
        "peak_memory_mb": max(answer.memory for answer in every) // 10**6,
        "longest_seconds": round(max(answer.seconds for answer in every), 2),
        "wrong": wrong,
        "limits": {"memory_gib": config.memory / 2**30, "seconds": config.seconds},
        "seed": seed,
        "seconds": round(time.perf_counter() - started),
        "families": records,
    }


def is_wrong(family: str, kind: str, answer: Answer) -> bool:
    """Whether an answer is none that a stranger's input should get."""
    good = {"read"} if kind.endswith("unchanged") else {"read", "refused"}
    good |= {"too much memory"} if family in OF_PICTURES else set()
    return answer.kind not in good or bool(answer.left) or answer.memory > MOST_MEMORY


def summary(kinds: Sequence[str], found: Sequence[Answer]) -> dict[str, Any]:
    """What a record says of a family's inputs, which were damaged in these ways."""
    by_damage: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    for kind, answer in zip(kinds, found, strict=True):
        by_damage[kind][answer.kind] += 1
    most = max(range(len(found)), key=lambda number: found[number].memory)
    longest = max(range(len(found)), key=lambda number: found[number].seconds)
    return {
        "inputs": len(found),
        "answers": dict(Counter(answer.kind for answer in found)),
        "by_damage": {kind: dict(counts) for kind, counts in by_damage.items()},
        "peak_memory_mb": found[most].memory // 10**6,
        "peak_memory_of": f"{most}: {kinds[most]}",
        "above_200_mb": sum(answer.memory > MOST_MEMORY for answer in found),
        "longest_seconds": round(found[longest].seconds, 2),
        "longest_of": f"{longest}: {kinds[longest]}",
    }


def fuzz_videos(
    folder: Path, seed: int, count: int, config: ScanConfig
) -> tuple[list[str], list[Answer], dict[str, Any]]:
    """How `count` videos were damaged, what came of them, and what only a record of videos has."""
    for name in ("originals", "mutants"):
        (folder / name).mkdir(parents=True)
    made = originals(folder / "originals")
    damaged = mutants(made, seed, count)
    for mutant in damaged:
        (folder / "mutants" / mutant.name).write_bytes(mutant.data)
    started = time.perf_counter()
    manifest = scan_to(folder / "mutants", folder / "mutants.parquet", config)
    seconds = time.perf_counter() - started
    read = examined(folder / "mutants", manifest, config)
    kinds = {mutant.name: mutant for mutant in damaged}
    record = {
        "originals": len(made),
        "reasons": dict(Counter(row.reason for row in manifest.bad if row.reason).most_common()),
        "beyond_limits": beyond_limits(manifest, kinds),
        "contradictions": contradictions(manifest, read),
        "good_but_not_the_same_twice": sum(isinstance(each, Examined) and not each.same for each in read),
        "scan_seconds": round(seconds, 1),
        "originals_sha256": hashlib.sha256(b"".join(made[name] for name in sorted(made))).hexdigest(),
    }
    answered = [answer_of(each) for each in read]
    refused = [number for number, answer in enumerate(answered) if answer.kind == "too much memory"]
    paths = [str(folder / "mutants" / manifest[number].path) for number in refused]
    for number, held in in_children(memory_until_refused, paths, [config.seconds] * len(paths), config.memory, 1):
        if not isinstance(held, Failure):
            answered[refused[number]] = replace(answered[refused[number]], memory=held)
    return [kinds[row.path].kind for row in manifest], answered, record


def answer_of(found: Examined | Failure) -> Answer:
    """A video's answer."""
    if isinstance(found, Failure):
        return ended(found)
    return Answer("read" if found.reason is None else "refused", found.reason or "", found.memory, found.seconds)


def memory_until_refused(path: str) -> int:
    """Bytes that a video takes at most until it asks for a piece that it does not get."""
    before = restart_peak_memory()
    with suppress(VideoError, MemoryError):
        decode_whole(path)
    return peak_memory() - before


def examined(folder: Path, manifest: Manifest, config: ScanConfig) -> list[Examined | Failure]:
    """Every video decoded and read again, in other children with the same limits."""
    paths = [str(folder / row.path) for row in manifest]
    seconds = [config.seconds_for(row.bytes) for row in manifest]
    found = dict(in_children(examine, paths, seconds, config.memory, config.processes or 1))
    return [found[number] for number in range(len(paths))]


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
