"""Training of a proxy tokenizer on one GPU whose updates are replayed as CUDA graphs, from prepared clips.

An update of a small tokenizer is some thousand short kernels, which a GPU ends faster than a program can ask for them.
So losses and gradients under a mix of assignments, a random one for each clip of a batch, are captured once and
replayed on other clips; there are many mixes for each size of clips. Everything else is stage 1 as `evatok train proxy`
has it: start, optimisers, schedule, upkeep of the codebook, averages. It is in bfloat16; nothing is validated, and of
`loop` in the config only seed and `compile` count.

    python -m benchmarks.prepared --config configs/mini/proxy.yaml --seconds 100 --clips-to clips
    python -m benchmarks.captured --config configs/mini/proxy.yaml --clips clips --minutes 6 --out gpu-training.json

The record has, by size of clips, what losses and gradients take uncaptured and replayed, and how far they differ.
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from benchmarks.common import Row, arguments, in_turn, read_config, synchronize, table, write_record
from benchmarks.prepared import PreparedClips
from benchmarks.steps import new_accelerator
from evatok.data.clips import ClipBatch
from evatok.nn.attention import Segments, varlen_tables
from evatok.nn.packed import Layout, groups_of, shares_of
from evatok.nn.transformer import compile_layers
from evatok.stages.proxy import ProxyConfig, ProxyTask
from evatok.tokenizer.codebook_use import level_numbers
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokenizer.network import rows_of_books
from evatok.tokenizer.picture import Picture, places_of
from evatok.training.optimizers import relative_rate, set_rate
from evatok.training.preparing import prepare
from evatok.training.task import Item
from evatok.utils.files import write_json
from evatok.video.fit import to_signed

MIXES = 40  # mixes of assignments in all, shared out among the sizes of clips
PROBE = 60  # updates by which the rate is measured, after as many; the warm-up has more
LOOK = 100  # updates between looks at the losses, which wait for the GPU
TURNS = 3  # in which uncaptured and replayed updates are timed


class Captured:
    """Losses and gradients of a task under a mix of assignments, for clips of one size.

    Args:
        task: stage 1, its model and loss on the GPU, every weight with a gradient that stays where it is.
        accelerator: whose precision it has.
        video: uint8 clips `(B, F, 3, h, w)` on the GPU, which are filled in before each replay.
        layout: their assignments.
        pool: memory that all graphs share, for one is replayed at a time.

    Attributes:
        error: of losses and gradients when replayed, relative to those of the same computation uncaptured.
    """

    def __init__(self, task: ProxyTask, accelerator: Accelerator, video: Tensor, layout: Layout, pool: Any) -> None:
        self.video, self.layout = video, layout
        self._task, self._accelerator = task, accelerator
        self._gradients = [weight.grad for weight in task.trained["tokenizer"].network.parameters()]
        self._stream = torch.cuda.Stream()
        with self._aside():
            self.names, losses = self._run()
            self.losses = losses.clone()
            right = self._flat(losses)
        # What else a graph reads; the functions that made it forget it in time.
        self._tables = self._used_tables()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self.losses.copy_(self._run()[1])
        self._graph.replay()
        found = self._flat(self.losses)
        self.error = float((found - right).norm() / right.norm())

    def replay(self, video: Tensor) -> None:
        """Gradients of these clips into the weights', their losses into `losses`."""
        self.video.copy_(video)
        self._graph.replay()

    def milliseconds(self) -> dict[str, float]:
        """What losses and gradients take, uncaptured and replayed, in turn."""
        seconds = in_turn({"uncaptured": self._uncaptured, "replayed": self._graph.replay}, TURNS)
        return {f"{how}, ms": 1000 * each for how, each in seconds.items()}

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """On a stream of its own, as what is to be captured has to run before."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)

    def _uncaptured(self) -> None:
        with self._aside():
            self._run()

    def _run(self) -> tuple[list[str], Tensor]:
        torch._foreach_zero_(self._gradients)
        task = self._task
        with self._accelerator.autocast():
            video = to_signed(self.video)
            output = task.trained["tokenizer"].model(video, self.layout, True)
            task.use.count(output, task.space.levels)
            losses = task.loss(output.video, video, torch.Generator(), output.sketch) | output.losses
        stacked = torch.stack([loss.float() for loss in losses.values()])
        stacked.sum().backward()
        return list(losses), stacked.detach()

    def _flat(self, losses: Tensor) -> Tensor:
        return torch.cat([losses, *(each.flatten() for each in self._gradients if each is not None)])

    def _used_tables(self) -> list[Any]:
        model, device, tokens = self._task.config.model, self.video.device, self.layout
        size = (self.video.shape[-2], self.video.shape[-1])
        places = places_of(Picture.of(size, model), tokens, device)
        patches = places.patch_layout
        pairs = (tokens, tokens), (tokens, patches), (patches, patches), (patches, tokens)
        made = (groups_of, places_of, varlen_tables, shares_of, rows_of_books, level_numbers)
        before = [function.cache_info().misses for function in made]
        tables = [
            groups_of(tokens, device),
            places,
            [varlen_tables(Segments(*pair), device) for pair in pairs],
            shares_of(tokens, device),
            rows_of_books(model, tokens, size, device),
            level_numbers(tokens, self._task.space.levels, device),
        ]
        if before != [function.cache_info().misses for function in made]:
            raise RuntimeError("a graph would read tables that were not kept from its first run")
        return tables


class CapturedTraining:
    """Stage 1 by captured updates.

    Args:
        config: of the training; in it every update must be like the first.
        clips: prepared ones.
        mixes: mixes of assignments in all; each size of clips has at least one.

    Attributes:
        replays: by size of clips, what a replay gains and how far it differs.

    Raises:
        ValueError: something in the config would change in the course of a training.
    """

    def __init__(self, config: ProxyConfig, clips: PreparedClips, mixes: int) -> None:
        _check(config)
        torch.manual_seed(config.loop.seed)
        self.config, self.clips = config, clips
        self.task = ProxyTask(replace(config, data=replace(config.data, validation=[])))
        self.task.batches = clips
        self.accelerator = new_accelerator("bf16")
        if config.loop.compile:
            compile_layers(self.task.trained["tokenizer"].network)
        prepare(self.accelerator, self.task.trained.values())
        self.trained = self.task.trained["tokenizer"]
        self.task.loss.to(self.accelerator.device)
        self.generator = torch.Generator().manual_seed(config.loop.seed)
        self.task.before_step(0, [self._item(0)], self.generator)
        self.weights = list(self.trained.network.parameters())
        for weight in self.weights:
            weight.grad = torch.zeros_like(weight)
        self.captured = self._capture(mixes)
        self.replays = [_replays(size, several) for size, several in self.captured.items()]
        # What was counted on the way is no training.
        self.task.use.counts.zero_()

    def _item(self, step: int) -> Item[ClipBatch]:
        return Item(self.clips[step], seed=self.config.loop.seed + step)

    def _capture(self, mixes: int) -> dict[tuple[int, int], list[Captured]]:
        pool, found = torch.cuda.graph_pool_handle(), dict[tuple[int, int], list[Captured]]()
        total = len(self.clips)
        for videos in self.clips.videos:
            size = (videos.shape[-2], videos.shape[-1])
            video = videos[: self.clips.group].clone()
            for _ in range(max(round(mixes * len(videos) / total), 1)):
                layout = Layout.of(self.task.space.sample(self.generator, len(video)).tolist())
                captured = Captured(self.task, self.accelerator, video, layout, pool)
                found.setdefault(size, []).append(captured)
        return found

    def update(self, step: int, steps: int) -> Captured:
        """One update; nothing in it waits for the GPU, but the upkeep of the codebook."""
        if step and step % self.config.codebook.window == 0:
            self.task.before_step(step, [self._item(step)], self.generator)
        batch = self.clips[step]
        mixes = self.captured[batch.video.shape[-2], batch.video.shape[-1]]
        captured = mixes[int(torch.randint(len(mixes), (), generator=self.generator))]
        captured.replay(batch.video)
        torch.nn.utils.clip_grad_norm_(self.weights, self.config.optimizer.max_grad_norm)
        for optimizer in self.trained.optimizers:
            set_rate(optimizer, relative_rate(step, steps, self.config.optimizer))
            optimizer.step()
        if self.trained.average:
            self.trained.average.update(self.trained.network)
        return captured


def _check(config: ProxyConfig) -> None:
    """ValueError unless every update is like the first, but for clips, assignments and learning rates."""
    needed = {
        "codebook.warmup": (config.codebook.warmup, 0),
        "loop.accumulate": (config.loop.accumulate, 1),
        "loss.perceptual_start": (config.loss.perceptual_start, 0),
        "loss.perceptual_frames": (config.loss.perceptual_frames, 0),
    }
    for name, (got, value) in needed.items():
        if got != value:
            raise ValueError(f"{name} must be {value} for captured updates, which are all alike; got {got}")
    if config.optimizer.warmup < 2 * PROBE:
        raise ValueError(
            f"optimizer.warmup must be at least {2 * PROBE}, for by these steps the rate is measured; "
            f"got {config.optimizer.warmup}"
        )


def _replays(size: tuple[int, int], several: list[Captured]) -> Row:
    error = max(each.error for each in several)
    return {"size": f"{size[0]}x{size[1]}", "mixes": len(several), **several[0].milliseconds(), "error": error}


def train(training: CapturedTraining, seconds: float) -> Iterator[dict[str, float]]:
    """As many updates as the time allows by the rate of the first ones; yields what is seen from time to time.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    start = time.monotonic()
    # The rate in the warm-up depends on no number of steps.
    steps = training.config.optimizer.warmup
    for step in range(2 * PROBE):
        if step == PROBE:
            synchronize()
            half = time.monotonic()
        training.update(step, steps)
    synchronize()
    a_step = (time.monotonic() - half) / PROBE
    steps = 2 * PROBE + max(int((seconds - (time.monotonic() - start)) / a_step), 1)
    for step in range(2 * PROBE, steps):
        captured = training.update(step, steps)
        if step % LOOK == 0 or step + 1 == steps:
            losses = dict(zip(captured.names, captured.losses.tolist(), strict=True))
            row = {"step": step + 1, "of": steps, "seconds": time.monotonic() - start, **losses}
            if not all(map(math.isfinite, losses.values())):
                raise FloatingPointError(f"a loss is not finite: {row}")
            yield row


def save(training: CapturedTraining, folder: Path, record: dict[str, Any]) -> None:
    """The averaged tokenizer in half precision, and how it was made."""
    network = VideoTokenizer(training.config.model)
    network.load_state_dict({name: each.cpu() for name, each in training.trained.averaged().state_dict().items()})
    network.save_pretrained(folder, torch.float16)
    write_json(folder / "training.json", record)


def run(config: ProxyConfig, clips: PreparedClips, mixes: int, seconds: float) -> dict[str, Any]:
    """Trains for a time, and saves on the way; `final` in the run's folder gets the tokenizer."""
    begun = time.monotonic()
    training = CapturedTraining(config, clips, mixes)
    print(f"{len(clips)} clips, start and capture in {time.monotonic() - begun:.0f} s")
    print(table(training.replays), flush=True)
    rows, made = list[dict[str, float]](), dict[str, Any]()
    for row in train(training, seconds):
        rows.append(row)
        print(json.dumps({name: round(value, 4) for name, value in row.items()}), flush=True)
        if len(rows) % 20 == 0 or row["step"] == row["of"]:
            made = {
                "steps": int(row["step"]),
                "clips": int(row["step"]) * clips.group,
                "seconds": row["seconds"],
                "prepared_clips": len(clips),
                "mixes": mixes,
                "replays": training.replays,
                "losses": rows,
                "config": asdict(config),
            }
            save(training, Path(config.folder) / "final", made)
    return made


def main() -> None:
    """Trains, and writes a record of it."""
    parser = arguments(__doc__)
    parser.add_argument("--config", required=True, help="of the training")
    parser.add_argument("--clips", type=Path, required=True, help="folder of prepared clips")
    parser.add_argument("--minutes", type=float, default=6.0, help="of the training, its start left out")
    parser.add_argument("--mixes", type=int, default=MIXES, help="mixes of assignments")
    given, words = parser.parse_known_args()
    if not torch.cuda.is_available():
        parser.error("captured updates need a GPU with CUDA, and torch finds none")
    config = read_config(ProxyConfig, [f"--config={given.config}", *words])
    clips = PreparedClips(given.clips, config.data.group, config.loop.seed, torch.device("cuda"))
    made = run(config, clips, given.mixes, 60 * given.minutes)
    print(table(made["losses"][-1:]))
    write_record({"training": made, "memory_gib": torch.cuda.max_memory_allocated() / 2**30}, given.out)


if __name__ == "__main__":
    main()
