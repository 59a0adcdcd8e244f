"""What it takes to open a manifest of many videos for training: seconds, and memory at the most.

    python -m benchmarks.manifests --rows 1000000 10000000

The manifest is synthetic: a hundredth of the videos is bad, none is in a shard. A process of its own opens it as a
folder's index and counts places for clips; its memory is what it takes beyond that of the same imports. Seconds of a
processor, of all threads together, say on a busy machine what seconds of the clock do not.
"""

import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256

from benchmarks.children import in_child, peak_memory
from benchmarks.common import Row, arguments, report
from evatok.data.clips import ClipSamplerConfig, TrainingClips
from evatok.data.folders import FolderConfig, FolderSource
from evatok.data.manifest import Manifest, ManifestRow, write_manifest


def main() -> None:
    """Parses, writes, measures, prints."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000_000], help="of each manifest")
    given = parser.parse_args()
    report([measured(count) for count in given.rows], given.out)


def measured(count: int) -> Row:
    """What a manifest of so many rows takes."""
    with tempfile.TemporaryDirectory() as folder:
        columns = in_child(write, f"{folder}/manifest.parquet", count)
        seconds, busy, memory = in_child(open_and_count, folder)
    sizes = {"memory MB": memory / 1e6, "columns MB": columns / 1e6}
    return {"rows": count, "seconds": seconds, "of a processor": busy, **sizes}


def write(path: str, count: int) -> int:
    """Writes a manifest; returns the bytes of its columns in memory."""
    manifest = Manifest.of(rows(count))
    write_manifest(manifest, path)
    return int(manifest.table.nbytes)


def rows(count: int) -> Iterator[ManifestRow]:
    """Rows in order of their paths, in a thousand classes."""
    for number in range(count):
        label = f"{number * 1000 // count:03d}-class"
        path, digest = f"{label}/video-{number:09d}.mp4", sha256(str(number).encode()).hexdigest()
        if number % 100:
            yield ManifestRow(path, label, 10_000 + number, digest, 16 + number % 600, 25.0, 240, 320, "h264")
        else:
            yield ManifestRow(path, label, 10_000 + number, digest, reason="it breaks off")


def open_and_count(folder: str) -> tuple[float, float, int]:
    """Seconds, those of a processor, and bytes beyond what the imports take."""
    before, start, busy = peak_memory(), time.perf_counter(), time.process_time()
    source = FolderSource(FolderConfig(folder, index="manifest.parquet"))
    TrainingClips([source], [1.0], ClipSamplerConfig(), 4, 0)
    return time.perf_counter() - start, time.process_time() - busy, peak_memory() - before


if __name__ == "__main__":
    main()
