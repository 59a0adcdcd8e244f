"""What it takes to open a manifest of many videos for training: seconds, and memory at the most.

    python -m benchmarks.manifests --rows 2000000

The manifest is synthetic: a hundredth of the videos is bad, none is in a shard. A process of its own opens it as a
folder's index and counts places for clips; its memory is what it takes beyond that of the same imports.
"""

import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256

from benchmarks.children import in_child, peak_memory
from benchmarks.common import arguments, report
from evatok.data.clips import ClipSamplerConfig, TrainingClips
from evatok.data.folders import FolderConfig, FolderSource
from evatok.data.manifest import Manifest, ManifestRow, write_manifest


def main() -> None:
    """Parses, writes, measures, prints."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        columns = in_child(write, f"{folder}/manifest.parquet", given.rows)
        seconds, memory = in_child(open_and_count, folder)
    row = {"rows": given.rows, "seconds": seconds, "memory MB": memory / 1e6, "columns MB": columns / 1e6}
    report([row], given.out)


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


def open_and_count(folder: str) -> tuple[float, int]:
    """Seconds, and bytes beyond what the imports take."""
    before, start = peak_memory(), time.perf_counter()
    source = FolderSource(FolderConfig(folder, index="manifest.parquet"))
    TrainingClips([source], [1.0], ClipSamplerConfig(), 4, 0)
    return time.perf_counter() - start, peak_memory() - before


if __name__ == "__main__":
    main()
