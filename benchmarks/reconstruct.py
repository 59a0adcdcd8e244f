"""`evatok reconstruct` against the video's own rate: frames a second, with start-up apart.

The video is a part of Big Buck Bunny in 1280x720 unless another is given. The command runs on it and on its first
frames alone, in turns: what the short run takes is start-up, and what the long one takes more goes to the frames
more. Processor seconds are those of all threads: with more of them in a second of video than there are cores, no
arrangement is fast enough.

    python -m benchmarks.reconstruct --out docs/results/reconstruct.json
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import Row, arguments, report
from evatok.data.toy.film import CREDIT, big_buck_bunny
from evatok.video.reading import VideoReader, probe, write_video

# Of the short run: as few as all parts of the command still have something to do.
FIRST = 16
# Where the default part of the film begins, in seconds: a landscape, animals, movement, cuts.
START = 100.0


class Cost(NamedTuple):
    """Seconds of a run, as they pass and as processors count them."""

    wall: float
    processor: float


def part_of(video: Path, target: Path, start: float, frames: int) -> int:
    """Writes frames of a video from some second on, and returns how many there were."""
    info = probe(video)
    with VideoReader(video, start=start, end=start + (frames - 0.5) / info.fps) as reader:
        write_video(target, (frame for frame, _ in reader), fps=info.fps)
    return probe(target).frames or 0


def run(video: Path, folder: Path, tokenizer: str) -> Cost:
    """The command on a video, in a process of its own."""
    before, start = _of_children(), time.perf_counter()
    command = [sys.executable, "-m", "evatok", "reconstruct", str(video), "-o", str(folder), "--tokenizer", tokenizer]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Cost(time.perf_counter() - start, _of_children() - before)


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(video: Path, start: float, frames: int, tokenizer: str, repeats: int) -> Row:
    """The row of a video: medians of turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = part_of(video, folder / "few.mp4", start, FIRST)
        many = part_of(video, folder / "many.mp4", start, frames)
        if many <= few:
            raise ValueError(f"the video must have more than {FIRST} frames from second {start:g} on, got {many}")
        turns = [
            [run(folder / f"{part}.mp4", folder / "out", tokenizer) for part in ("few", "many")] for _ in range(repeats)
        ]
        info = probe(folder / "many.mp4")
    short, long = (Cost(*map(statistics.median, zip(*costs, strict=True))) for costs in zip(*turns, strict=True))
    rate = (many - few) / (long.wall - short.wall)
    return {
        "pixels": f"{info.size[1]}x{info.size[0]}",
        "frames": many,
        "start-up, s": short.wall,
        "all, s": long.wall,
        "frames/s": rate,
        "of the video's own": rate / info.fps,
        "processor seconds a second of video": (long.processor - short.processor) / (many - few) * info.fps,
    }


def main() -> None:
    """Measures one video."""
    parser = arguments(__doc__)
    parser.add_argument("--video", type=Path, help="instead of the film's part")
    parser.add_argument("--start", type=float, help="second at which the part begins", default=None)
    parser.add_argument("--frames", type=int, default=480, help="of the part")
    parser.add_argument("--tokenizer", default="evatok-tiny-proxy", help="shipped name or folder")
    parser.add_argument("--repeats", type=int, default=3, help="turns; the median counts")
    given = parser.parse_args()
    start = (0.0 if given.video else START) if given.start is None else given.start
    video = given.video or big_buck_bunny()
    row = measure(video, start, given.frames, given.tokenizer, given.repeats)
    report([row], given.out, tokenizer=given.tokenizer, **({} if given.video else {"video": CREDIT}))


if __name__ == "__main__":
    main()
