"""Memory on a CPU: a short and a long video encoded and reconstructed; training steps and coding by preset and batch.

Everything is measured in a process of its own, as the most memory that it has held beyond what its imports took: with
weights, optimisers and averages, whatever a pass needs. Every block has the longest length, so no mix of lengths takes
more. What would not fit into the memory that is free is estimated: memory grows by as much a clip as between the two
largest batches that were measured, clips/s are those of the larger one.

    python -m benchmarks.memory --out docs/results/memory.json
    python -m benchmarks.memory --presets --out docs/results/memory-by-length.json    # of lengths alone
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil
import torch
from torch import Tensor

from benchmarks.children import in_child, peak_memory
from benchmarks.common import Row, arguments, in_turn, table, write_record
from benchmarks.steps import run_steps, step_config
from evatok.codec.reconstruct import reconstruct_file
from evatok.losses.reconstruction import ReconstructionLossConfig
from evatok.nn.packed import Layout
from evatok.tokenizer.config import PRESETS, TokenizerConfig
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import VideoTokenizer
from evatok.video.reading import write_video

ON_CPU = {"CUDA_VISIBLE_DEVICES": ""}
MIB = 2**20
# The losses of the configs that train these presets.
LOSSES = {
    "tiny": ReconstructionLossConfig(lpips_net="alex", perceptual_frames=8),
    "mini": ReconstructionLossConfig(lpips_net="alex"),
    "small": ReconstructionLossConfig(lpips_net="vgg", perceptual_frames=4),
    "base": ReconstructionLossConfig(lpips_net="vgg"),
}


@dataclass(frozen=True)
class Measured:
    """Bytes beyond the imports, and clips a second."""

    memory: float
    rate: float


Pass = Callable[[TokenizerConfig, int], Measured]


def training_step(loss: ReconstructionLossConfig, recompute: bool, model: TokenizerConfig, batch: int) -> Measured:
    """Steps of stage 1, in bfloat16 where that is native; saving what was trained, at the end, is not counted."""
    imports = peak_memory()
    peaks: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        config = step_config(Path(folder), model, batch, 1, loss, steps=5)
        config = replace(config, loop=replace(config.loop, recompute=recompute))
        task = run_steps(config, lambda step: peaks.append(peak_memory()))
    return Measured(peaks[-1] - imports, batch / statistics.median(task.seconds))


def encode_and_decode(model: TokenizerConfig, batch: int) -> Measured:
    """Clips to ids and back in float32."""
    imports = peak_memory()
    tokenizer = VideoTokenizer(model).eval()
    layout = Layout((model.default_assignment,) * batch)
    video = torch.rand(batch, model.clip_frames, 3, model.side, model.side) * 2 - 1

    def both() -> None:
        ids, _ = tokenizer.encode_blocks(video, layout)
        tokenizer.decode_blocks(ids, layout, (model.side, model.side))

    with torch.inference_mode():
        seconds = in_turn({"both": both}, repeats=2)["both"]
    return Measured(peak_memory() - imports, batch / seconds)


def longest(model: TokenizerConfig) -> TokenizerConfig:
    """The model with no other length than its longest."""
    most = model.levels[-1]
    return replace(model, levels=(most,), default_assignment=(most,) * model.blocks)


def by_batch(run: Pass, model: TokenizerConfig, batches: Sequence[int], free: float) -> Iterator[tuple[Measured, bool]]:
    """Each batch's numbers, in ascending order, and whether they were measured: two are, and all that fit `free`."""
    done: list[tuple[int, Measured]] = []
    for batch in batches:
        guess = estimate(done, batch) if len(done) > 1 else None
        if guess and guess.memory > free:
            yield guess, False
            continue
        measured = in_child(run, longest(model), batch, environment=ON_CPU)
        done = [*done[-1:], (batch, measured)]
        yield measured, True


def estimate(measured: Sequence[tuple[int, Measured]], batch: int) -> Measured:
    """Numbers of a batch from two smaller ones': a straight line through their memory, the rate of the larger."""
    (fewer, first), (more, second) = measured
    slope = (second.memory - first.memory) / (more - fewer)
    return Measured(second.memory + slope * (batch - more), second.rate)


def measure(name: str, model: TokenizerConfig, loss: ReconstructionLossConfig, batches: Sequence[int]) -> list[Row]:
    """Rows of both passes of a preset."""
    free = 0.8 * psutil.virtual_memory().available
    passes: dict[str, Pass] = {
        "training step": partial(training_step, loss, False),
        "training step, layers computed again": partial(training_step, loss, True),
        "encode + decode": encode_and_decode,
    }
    rows: list[Row] = []
    for kind, run in passes.items():
        for batch, (found, measured) in zip(batches, by_batch(run, model, batches, free), strict=True):
            rows.append(
                {
                    "preset": name,
                    "pass": kind,
                    "batch": batch,
                    "memory, MiB": round(found.memory / MIB),
                    "clips/s": found.rate,
                    "from": "measured" if measured else "estimated",
                }
            )
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def encoding(path: Path) -> Measured:
    """A video file to tokens by the preset `tiny` with random weights."""
    imports, start = peak_memory(), time.perf_counter()
    tokens = VideoTokenizer(PRESETS["tiny"]).eval().encode(path)
    return Measured(peak_memory() - imports, tokens.num_clips / (time.perf_counter() - start))


def reconstructing(path: Path) -> Measured:
    """A video file beside its reconstruction, with its scores, by the shipped tokenizer at one length."""
    imports, start = peak_memory(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        scored = reconstruct_file(path, Path(folder), "evatok-tiny", LengthRequest(uniform=32))
    return Measured(peak_memory() - imports, scored.frames / 16 / (time.perf_counter() - start))


def lengths(run: Callable[[Path], Measured], frames: Sequence[int], side: int = 64) -> list[Row]:
    """Rows of videos of so many frames, of moving noise."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in frames:
            path = Path(folder) / f"{count}.mp4"
            write_video(path, moving(count, side), fps=24)
            found = in_child(run, path, environment=ON_CPU)
            rows.append({"frames": count, "memory, MiB": round(found.memory / MIB), "clips/s": found.rate})
    return rows


def moving(frames: int, side: int) -> Iterator[Tensor]:
    """Frames `(3, side, side)` uint8 of noise that moves sideways."""
    noise = torch.randint(0, 256, (3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return (noise.roll(number, 2) for number in range(frames))


def main() -> None:
    """Measures encoding and reconstructing by length, and every preset in every batch."""
    parser = arguments(__doc__)
    parser.add_argument("--presets", choices=list(PRESETS), nargs="*", default=list(PRESETS))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 3000], help="of the videos")
    given = parser.parse_args()
    by_length = {"encode": lengths(encoding, given.frames), "reconstruct": lengths(reconstructing, given.frames)}
    batches = sorted(given.batches)
    rows = [row for name in given.presets for row in measure(name, PRESETS[name], LOSSES[name], batches)]
    for several in filter(None, (*by_length.values(), rows)):
        print(table(several))
    write_record({**by_length, "rows": rows}, given.out)


if __name__ == "__main__":
    main()
