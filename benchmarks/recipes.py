"""Recipes for a tokenizer, trained for equal times on the same clips in memory and judged on the same held-out ones.

Each recipe has a process of one thread; the time is that of its own processor, so that what runs beside it counts for
little. Rates fall with the share of the time that is gone.

    python -m benchmarks.recipes --config configs/tiny/proxy.yaml --minutes 20 --out docs/results/recipes-20.json
"""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from benchmarks.common import arguments, read_config, report
from evatok.assignment import Assignment, AssignmentSpace
from evatok.data.clips import ClipBatch, joined
from evatok.evaluation.reconstruction import ReconstructionResult, evaluate_reconstruction
from evatok.losses.reconstruction import ReconstructionLoss
from evatok.nn.packed import Layout
from evatok.nn.transformer import TransformerConfig
from evatok.pretrained.lpips import LPIPS
from evatok.stages.data import DataConfig
from evatok.stages.lengths import Assigner, RandomLengths
from evatok.stages.proxy import ProxyConfig, ProxyTask
from evatok.tokenizer.config import FSQConfig, QuantizerConfig, SketchConfig, TokenizerConfig
from evatok.training.preparing import prepare
from evatok.training.task import Item
from evatok.training.update import update

FRONT_LOADED: tuple[Assignment, ...] = ((64, 8, 8, 8), (128, 8, 8, 8), (128, 32, 16, 8))
SHOWN: tuple[Assignment, ...] = ((8,) * 4, (64,) * 4, (128,) * 4, (64, 8, 8, 8))
_PAPER = TokenizerConfig()
_WARMUP = 0.1  # share of the time without quantization, where a codebook is drawn from what was learned by then
Change = Callable[[ProxyConfig], ProxyConfig]


def model(**changes: Any) -> Change:
    """A recipe with another model."""
    return lambda config: replace(config, model=replace(config.model, **changes))


def sizes(encoder: int, decoder: int, width: int, heads: int = 4) -> Change:
    """A recipe with other depths, another width and number of heads."""
    return model(encoder=TransformerConfig(width, encoder, heads), decoder=TransformerConfig(width, decoder, heads))


def loss(**changes: Any) -> Change:
    """A recipe with other weights of the losses."""
    return lambda config: replace(config, loss=replace(config.loss, **changes))


def rates(factor: float) -> Change:
    """A recipe with other learning rates."""

    def change(config: ProxyConfig) -> ProxyConfig:
        old = config.optimizer
        new = replace(old, lr=factor * old.lr, muon_lr=factor * old.muon_lr)
        return replace(config, optimizer=new)

    return change


def group(clips: int) -> Change:
    """A recipe with other groups of clips."""
    return lambda config: replace(config, data=replace(config.data, group=clips))


def paper(width: int) -> Change:
    """The paper's form of the model, which has no sketch, and whose codebook is drawn after a while."""
    encoder, decoder = TransformerConfig(width, 3, 4), TransformerConfig(width, 4, 4)
    return lambda config: replace(config, model=replace(_PAPER, encoder=encoder, decoder=decoder))


# What a recipe has otherwise than the config.
RECIPES: dict[str, Change] = {
    "paper's form, 256 wide": paper(256),
    "paper's form, 128 wide": paper(128),
    "config": lambda config: config,
    "one pass, codes of 8": model(sketch=SketchConfig(), quantizer=QuantizerConfig(dim=8, unit=False)),
    "one pass": model(sketch=SketchConfig(own_codebooks=True)),
    "two passes": model(sketch=SketchConfig(passes=(1, 1), own_codebooks=True)),
    "passes share codes": model(sketch=SketchConfig(passes=(1, 1, 2))),
    "no carry": model(sketch=SketchConfig(carry=False, passes=(1, 1, 2), own_codebooks=True)),
    "192 wide": sizes(1, 4, 192),
    "encoder 3": sizes(3, 4, 128),
    "decoder 6": sizes(1, 6, 128),
    "2 heads": sizes(1, 4, 128, heads=2),
    "finite scalars, 1,024 codes": model(quantizer=FSQConfig((4, 4, 4, 4, 4))),
    "4,096 codes": model(quantizer=QuantizerConfig(codebook_size=4096, dim=16, unit=False)),
    "codes of 8": model(quantizer=QuantizerConfig(dim=8, unit=False)),
    "no entropy loss": model(quantizer=QuantizerConfig(dim=16, entropy=0.0, unit=False)),
    "LPIPS from a fifth on": lambda config: config,
    "no loss of the sketch": loss(sketch=0.0),
    "sketch twice": loss(sketch=2.0),
    "pixels twice": loss(l1=2.0),
    "no LPIPS": loss(perceptual=0.0),
    "half the rates": rates(0.5),
    "twice the rates": rates(2.0),
    "groups of 8": group(8),
    "single blocks first": lambda config: config,
}


def late_lpips(task: ProxyTask, share: float) -> None:
    """Leaves LPIPS out of the first fifth of a training."""
    if share < 0.2:
        task.loss.lpips = None
    elif task.loss.lpips is None:
        task.loss = ReconstructionLoss(task.config.loss)


def single_blocks(task: ProxyTask, share: float) -> None:
    """Trains on clips of one block for two fifths of the time, in each step as many blocks as clips of 16 frames have.

    As many different lengths too, and LPIPS sees as many frames.
    """
    config, single = task.config, share < 0.4
    parts = config.model.blocks if single else 1
    assert isinstance(config.data, InMemory)
    task.batches = config.data.groups(config.loop.seed, parts)
    task.assign = _single_lengths(task.space) if single else RandomLengths(task.space)
    task.loss.config = replace(config.loss, perceptual_frames=config.loss.perceptual_frames // parts)


def _single_lengths(space: AssignmentSpace) -> Assigner:
    """Clips of one block take the lengths of a random assignment in turn."""

    def assign(video: Tensor, generator: torch.Generator) -> Layout:
        lengths = space.sample(generator).tolist()
        return Layout.of([[lengths[clip % len(lengths)]] for clip in range(len(video))])

    return assign


# What a recipe does before each step but the first, to which a sketch is fitted; by the share of the time that is gone.
WHILE_TRAINING: dict[str, Callable[[ProxyTask, float], None]] = {
    "LPIPS from a fifth on": late_lpips,
    "single blocks first": single_blocks,
}


@dataclass(frozen=True)
class Prepared:
    """Clips in memory: training clips, and held-out ones by their source."""

    training: ClipBatch
    held_out: dict[str, ClipBatch]

    @classmethod
    def read(cls, data: DataConfig, clips: int, file: Path, seed: int) -> "Prepared":
        """As the file has them; if there is none, as `data` gives them, and kept in the file."""
        if not file.exists():
            data = replace(data, clips=replace(data.clips, sizes=[data.validation_size], size_weights=[1.0]))
            training, held_out = data.open(seed)
            groups = [training[number] for number in tqdm(range(-(-clips // data.group)), unit="group")]
            torch.save({"training": vars(joined(groups)), "held_out": {k: vars(v) for k, v in held_out.items()}}, file)
        kept = torch.load(file, mmap=True, weights_only=True)
        return cls(ClipBatch(**kept["training"]), {name: ClipBatch(**each) for name, each in kept["held_out"].items()})


class _Groups(Dataset[ClipBatch]):
    """Group `i` is a random one of the clips in memory, the same for every recipe with groups of that size.

    Where clips are cut into `parts`, it has as many times more of them, of each a random part.
    """

    def __init__(self, clips: ClipBatch, size: int, seed: int, parts: int = 1) -> None:
        self.clips, self.size, self.seed, self.parts = clips, size, seed, parts

    def __getitem__(self, number: int) -> ClipBatch:
        generator = torch.Generator().manual_seed(self.seed * 2**32 + number)
        rows = torch.randint(len(self.clips), (self.size * self.parts,), generator=generator)
        part = torch.randint(self.parts, (len(rows),), generator=generator)
        video = self.clips.video.unflatten(1, (self.parts, -1))[rows, part]
        return ClipBatch(video, self.clips.labels[rows], [self.clips.keys[row] for row in rows])


@dataclass(frozen=True)
class InMemory(DataConfig):
    """A stage's data that is in memory already."""

    prepared: Prepared | None = None

    def open(self, seed: int) -> Any:
        """As `DataConfig.open` says."""
        assert self.prepared is not None
        return self.groups(seed), self.prepared.held_out

    def groups(self, seed: int, parts: int = 1) -> Dataset[ClipBatch]:
        """Training clips, whole or one of so many parts of each."""
        assert self.prepared is not None
        return _Groups(self.prepared.training, self.group, seed, parts)


def main() -> None:
    """Parses, trains, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="of a training of a proxy")
    parser.add_argument("--minutes", type=float, default=20, help="of each recipe's processor")
    parser.add_argument("--clips", type=int, default=6000, help="to train on")
    parser.add_argument("--prepared", type=Path, default=Path("runs/recipes.pt"), help="file that keeps the clips")
    parser.add_argument("--together", type=int, default=2, help="recipes that are trained side by side")
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    given = parser.parse_args()
    config = read_config(ProxyConfig, ["--config", str(given.config)])
    given.prepared.parent.mkdir(parents=True, exist_ok=True)
    prepared = Prepared.read(config.data, given.clips, given.prepared, config.loop.seed)
    clips = {"training": len(prepared.training), **{name: len(each) for name, each in prepared.held_out.items()}}
    records: dict[str, dict[str, Any]] = {}
    with ProcessPoolExecutor(given.together, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        work = {
            name: pool.submit(trial, name, config, given.prepared, given.clips, given.minutes) for name in given.recipes
        }
        for name, each in work.items():
            records[name] = each.result()
            rows = [{"recipe": name, **record["row"]} for name, record in records.items()]
            # After each one: what has been trained by then is kept.
            report(rows, given.out, minutes=given.minutes, clips=clips, config=asdict(config), recipes=records)


def trial(name: str, config: ProxyConfig, file: Path, clips: int, minutes: float) -> dict[str, Any]:
    """Trains a recipe; its row and all of its scores."""
    config = RECIPES[name](config)
    prepared = Prepared.read(config.data, clips, file, config.loop.seed)
    entries = {field: value for field, value in vars(config.data).items()}
    config = replace(config, data=InMemory(**entries, prepared=prepared), loop=config.loop.on_this_machine())
    torch.manual_seed(config.loop.seed)
    steps, task = train_for(config, 60 * minutes, WHILE_TRAINING.get(name))
    network = task.trained["tokenizer"].averaged()
    levels = config.model.levels
    front_loaded = [each for each in FRONT_LOADED if {*each} <= {*levels}]
    assignments = [*map(config.model.space.uniform, levels), *front_loaded]
    lpips = LPIPS.from_pretrained("alex")
    result = evaluate_reconstruction(network, prepared.held_out, lpips, assignments)
    row = {"steps": steps, "clips": steps * config.data.group, "codes": result.codes.used, **_row(result)}
    return {"row": row, "steps": steps, "group": config.data.group, "result": asdict(result)}


def train_for(
    config: ProxyConfig, seconds: float, before_step: Callable[[ProxyTask, float], None] | None = None
) -> tuple[int, ProxyTask]:
    """Trains for so many seconds of this process's own time; the steps that this took, and what was trained."""
    needs_warmup = config.model.sketch is None
    # No number of steps is known beforehand: the warm-up ends when its share of the time is gone.
    config = replace(config, codebook=replace(config.codebook, warmup=10**9 if needs_warmup else 0))
    task, accelerator = ProxyTask(config), Accelerator(cpu=True, mixed_precision=config.loop.precision)
    prepare(accelerator, task.trained.values())
    step, start = 0, time.process_time()
    while (share := (time.process_time() - start) / seconds) < 1:
        if task.warmup > step and needs_warmup and share > _WARMUP:
            task.warmup = step
        if before_step is not None and step:
            before_step(task, share)
        item = Item(task.batches[step], seed=step)
        task.before_step(step, [item], torch.Generator().manual_seed(step))
        # As if as many steps were to come as the time left allows.
        update(task, accelerator, step, max(step + 1, int(step / share)) if share > 0.01 else 10**6, [item])
        step += 1
    return step, task


def _row(result: ReconstructionResult) -> dict[str, Any]:
    """PSNR and LPIPS, means over the sources, at those of a few assignments that were judged."""
    row = {}
    for assignment in SHOWN:
        scores = [each for source in result.sources for each in source.scores if each.assignment == assignment]
        if not scores:
            continue
        name = "/".join(map(str, assignment if len(set(assignment)) > 1 else assignment[:1]))
        row[name] = f"{fmean(each.psnr for each in scores):.2f} / {fmean(each.lpips for each in scores):.3f}"
    return row


if __name__ == "__main__":
    main()
