"""How fast sources give clips, beside how fast a model learns from clips that are in memory already.

    python -m benchmarks.source_speed --config configs/tiny/proxy.yaml --seconds 20 --out docs/results/source-speed.json

Sources are those of the config, each alone and mixed by their weights, and shards made of its first folder. With 0
workers, clips are made in the process that trains; with more, beside it. `fed` is the rate of training on the mixture,
relative to training on clips in memory: 1 where data costs nothing.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.common import arguments, read_config, table, write_record
from benchmarks.steps import new_accelerator
from evatok.data.clips import ClipBatch, TrainingClips
from evatok.data.folders import FolderConfig
from evatok.data.loading import loader
from evatok.data.prepare.sharding import plan_shards, write_shards
from evatok.data.shards import ShardsConfig
from evatok.data.sources import ClipSource, open_source
from evatok.stages.proxy import ProxyConfig, ProxyTask
from evatok.training.preparing import prepare
from evatok.training.task import Item
from evatok.training.update import update

ENDLESS = 10**9


def main() -> None:
    """Runs the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--config", default="configs/tiny/proxy.yaml", help="of the training, with its sources")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=20.0, help="for each measurement")
    given, words = parser.parse_known_args()
    config = read_config(ProxyConfig, [f"--config={given.config}", *words])
    with tempfile.TemporaryDirectory() as folder:
        record = measure(config, Path(folder), given.workers, given.seconds)
    print(f"training on clips in memory: {record['training']:.1f} clips/s")
    print(table(rows(record)))
    write_record(record, given.out)


def measure(config: ProxyConfig, folder: Path, workers: list[int], seconds: float) -> dict[str, Any]:
    """Clips a second of every source and of training, for `seconds` each."""
    alone, weights = open_all(config, folder)
    mixture = [alone[name] for name in weights]
    sources = {name: ([source], [1.0]) for name, source in alone.items()} | {
        "mixture": (mixture, list(weights.values()))
    }
    learn = learner(config)
    training = rate(learn, memory(config, mixture), seconds)
    rates: dict[str, dict[str, float]] = {}
    for name, (group, shares) in sources.items():
        rates[name] = {str(n): rate(_nothing, batches(config, group, shares, n), seconds, n) for n in workers}
    mixed, shares = sources["mixture"]
    fed = {str(n): rate(learn, batches(config, mixed, shares, n), seconds, n) for n in workers}
    return {
        "training": training,
        "sources": rates,
        "ratios": {name: {n: value / training for n, value in row.items()} for name, row in rates.items()},
        "fed": {n: value / training for n, value in fed.items()},
        "seconds": seconds,
        "group": config.data.group,
        "clips": asdict(config.data.clips),
        "train": [asdict(source) for source in config.data.train],
    }


def open_all(config: ProxyConfig, folder: Path) -> tuple[dict[str, ClipSource], dict[str, float]]:
    """Every source by its name, shards of the first folder among them, and the weights of those in the config."""
    opened = [open_source(each) for each in config.data.train]
    weights = {source.name: each.weight for source, each in zip(opened, config.data.train, strict=True)}
    alone = {source.name: source for source in opened}
    for each in config.data.train:
        if isinstance(each, FolderConfig):
            write_shards(plan_shards(Path(each.folder), str(folder / "shards")))
            alone["shards"] = open_source(ShardsConfig(str(folder / "shards"), min_frames=each.min_frames))
            break
    return alone, weights


def batches(config: ProxyConfig, sources: list[ClipSource], weights: list[float], workers: int) -> Iterator[ClipBatch]:
    """The groups of clips that training would get."""
    data = config.data
    clips = TrainingClips(sources, weights, data.clips, data.group, config.loop.seed)
    return loader(clips, range(ENDLESS), workers)


def memory(config: ProxyConfig, sources: list[ClipSource]) -> Iterator[ClipBatch]:
    """Groups that were read beforehand, again and again."""
    data = config.data
    clips = TrainingClips(sources, [1.0] * len(sources), data.clips, data.group, config.loop.seed)
    kept = [clips[number] for number in range(4)]
    return (kept[number % len(kept)] for number in count())


def learner(config: ProxyConfig) -> Callable[[ClipBatch], None]:
    """A step of training on a group, codebook included."""
    plain = replace(config, data=replace(config.data, validation=[]))
    task = ProxyTask(plain)
    accelerator = new_accelerator(config.loop.on_this_machine().precision)
    prepare(accelerator, task.trained.values())

    def learn(batch: ClipBatch) -> None:
        update(task, accelerator, task.warmup, config.loop.steps, [Item(batch, seed=0)])

    return learn


def rate(use: Callable[[ClipBatch], None], groups: Iterator[ClipBatch], seconds: float, workers: int = 0) -> float:
    """Clips a second that are made and used, leaving out the first ones, which workers make ahead."""
    for _ in range(2 + 4 * workers):
        use(next(groups))
    started, clips, passed = time.perf_counter(), 0, 0.0
    while passed < seconds:
        batch = next(groups)
        use(batch)
        clips += len(batch)
        passed = time.perf_counter() - started
    return clips / passed


def _nothing(batch: ClipBatch) -> None:
    pass


def rows(record: dict[str, Any]) -> list[dict[str, str]]:
    """Rates by source and workers, and in brackets how many times that of training they are."""
    first, cells = "clips/s (times training)", []
    for name, rates in record["sources"].items():
        ratios = record["ratios"][name]
        cells.append({first: name} | {f"{n} workers": f"{rates[n]:.1f} ({ratios[n]:.2f})" for n in rates})
    fed = {f"{n} workers": f"({share:.2f})" for n, share in record["fed"].items()}
    return [*cells, {first: "training, fed by the mixture"} | fed]


if __name__ == "__main__":
    main()
