"""Stage 2: the search of every clip's quality under every assignment (paper, section 3)."""

import json
import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch.utils.data import ConcatDataset, Subset
from tqdm import tqdm

import evatok
from evatok.allocation.predictors import motion
from evatok.data.clips import ClipBatch, ClipSamplerConfig, FixedClips, TrainingClips, joined
from evatok.data.files import write_text
from evatok.data.sources import SourceConfig, open_source, source_config
from evatok.data.video import VideoError
from evatok.pretrained.lpips import LPIPS
from evatok.search.cheap import CheapPredictors
from evatok.search.table import SearchTable
from evatok.search.walk import search_clips
from evatok.tokenizer.model import VideoTokenizer

log = logging.getLogger(__name__)
PLAN = "search.json"
PREDICTORS = "predictors.safetensors"


@dataclass(frozen=True)
class SearchConfig:
    """Which clips are searched, and by what.

    Args:
        tokenizer: a shipped tokenizer's name, a folder that holds one, or a hub's repository.
        sources: where the clips come from, each under its own name.
        folder: where the table is written, as files of `part` clips each.
        clips: number of clips: in all where they are drawn at random, of each source where they are held out.
        drawn: `random` draws crops as training does, by the sources' weights; `held_out` takes the largest centre
            crops, spread evenly over each source's videos.
        size: height and width of the clips, multiples of the patch.
        seed: of what is drawn.
        network: the network of LPIPS, `alex` (cheap, for CPUs) or `vgg`.
        batch: clips that go through the tokenizer together.
        part: clips of a file; a run that is killed loses at most the part under way.
    """

    tokenizer: str
    sources: list[SourceConfig]
    folder: str
    clips: int = 2000
    drawn: Literal["random", "held_out"] = "random"
    size: tuple[int, int] = (64, 64)
    seed: int = 0
    network: Literal["alex", "vgg"] = "alex"
    batch: int = 16
    part: int = 32

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources names none; give at least one, such as [{folder: my/videos}]")
        for name in ("clips", "batch", "part"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")


class ClipList(Protocol):
    """Numbered single clips, which may turn out to be unreadable."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int) -> ClipBatch: ...


@dataclass(frozen=True)
class _Plan:
    """What a folder of parts is to hold: what makes the numbers, how many clips, and how many in each part."""

    made_by: dict[str, Any]
    clips: int
    part: int

    @property
    def parts(self) -> list[tuple[str, range]]:
        """Names of the parts' files, and the places of their clips."""
        starts = range(0, self.clips, self.part)
        return [
            (f"part-{number:05d}.parquet", range(start, min(start + self.part, self.clips)))
            for number, start in enumerate(starts)
        ]

    def claim(self, folder: Path) -> None:
        """Notes the plan in its folder; ValueError if the folder is another plan's."""
        path = folder / PLAN
        if path.exists():
            found = _read_plan(folder)
            differing = sorted(
                key for key in found.made_by | self.made_by if found.made_by.get(key) != self.made_by.get(key)
            )
            if found != self:
                what = ", ".join(differing) or f"{found.clips} clips in parts of {found.part}"
                raise ValueError(f"{folder} holds another search, which differs in: {what}; choose another folder")
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")


def _read_plan(folder: Path) -> _Plan:
    try:
        return _Plan(**json.loads((folder / PLAN).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder} holds no search: {error}") from error


def search(config: SearchConfig) -> SearchTable:
    """Searches all clips, from the start or from where an earlier run of the same config ended.

    Returns:
        The whole table, which `read_table` reads from the folder again. Clips that cannot be read are left out,
        logged, and named in `skipped`. Beside a table of clips drawn at random, which a router may be trained on, are
        the cheap predictors that are fitted to it.

    Raises:
        ValueError: the folder holds another search, or a source cannot be opened.
        CheckpointError: there is no such tokenizer.
    """
    tokenizer = VideoTokenizer.from_pretrained(config.tokenizer)
    clips = open_clips(config, tokenizer.config.clip_frames)
    folder = Path(config.folder)
    plan = _Plan(_made_by(config, tokenizer), len(clips), config.part)
    plan.claim(folder)
    lpips = LPIPS.from_pretrained(config.network)
    done = [name for name, _ in plan.parts if (folder / name).exists()]
    with tqdm(total=len(clips), unit="clip", smoothing=0.1) as bar:
        for name, places in plan.parts:
            if name in done:
                bar.initial += len(places)
                bar.update(len(places))
                continue
            _search_part(tokenizer, lpips, clips, places, config.batch, plan.made_by, bar).write(folder / name)
    table = read_table(folder)
    if table.skipped:
        lines = "".join(f"\n  {place}: {reason}" for place, reason in table.skipped.items())
        log.warning("skipped %d of %d clips:%s", len(table.skipped), len(clips), lines)
    if config.drawn == "random" and len(table) > 1:
        CheapPredictors.fit(table).write(folder / PREDICTORS)
    return table


def read_table(folder: Path) -> SearchTable:
    """The table of a finished search; ValueError if there is none, or it is not finished."""
    return SearchTable.joined(read_parts(folder))


def read_parts(folder: Path) -> list[SearchTable]:
    """The parts of the table of a finished search; ValueError if there is none, or it is not finished."""
    plan = _read_plan(folder)
    missing = [name for name, _ in plan.parts if not (folder / name).exists()]
    if missing:
        lacks = f"lacks {len(missing)} of {len(plan.parts)} parts"
        raise ValueError(f"the search in {folder} {lacks}: run the same `evatok search` again")
    return [SearchTable.read(folder / name) for name, _ in plan.parts]


def searched_by(folder: Path) -> SearchConfig:
    """The config of the search in a folder; of its tokenizer, the name alone. ValueError if there is none."""
    plan = _read_plan(folder)
    entries = {each.name: plan.made_by[each.name] for each in fields(SearchConfig) if each.name in plan.made_by}
    sources = [source_config(source) for source in entries.pop("sources")]
    height, width = entries.pop("size")
    return SearchConfig(**entries, sources=sources, size=(height, width), folder=str(folder))


def open_clips(config: SearchConfig, frames: int) -> ClipList:
    """The clips of a search, in order; they are read when they are asked for."""
    sources = [open_source(source) for source in config.sources]
    if config.drawn == "held_out":
        return ConcatDataset(
            [FixedClips(source, config.clips, config.size, frames, seed=config.seed) for source in sources]
        )
    sampler = ClipSamplerConfig(frames=frames, sizes=[config.size], size_weights=[1.0])
    weights = [source.weight for source in config.sources]
    return Subset(TrainingClips(sources, weights, sampler, 1, config.seed), range(config.clips))


def _search_part(
    tokenizer: VideoTokenizer,
    lpips: LPIPS,
    clips: ClipList,
    places: range,
    batch: int,
    made_by: dict[str, Any],
    bar: "tqdm[Any]",
) -> SearchTable:
    """The rows of some clips."""
    space = tokenizer.config.space
    read, skipped = _read(clips, places)
    parts = []
    for chunk in (dict(list(read.items())[start : start + batch]) for start in range(0, len(read), batch)):
        together = joined(list(chunk.values()))
        values = search_clips(tokenizer, tokenizer.config, together.video.to(tokenizer.device), lpips)
        moved = motion(together.video, tokenizer.config.block_frames)
        parts.append(
            SearchTable(space, tuple(chunk), tuple(together.keys), values.mse.cpu(), values.lpips.cpu(), moved, made_by)
        )
        bar.update(len(chunk))
    bar.update(len(skipped))
    empty = torch.empty(0, space.prefix_starts[-1])
    none = SearchTable(space, (), (), empty, empty, torch.empty(0, space.blocks), made_by, skipped)
    return SearchTable.joined([*parts, none])


def _read(clips: ClipList, places: range) -> tuple[dict[int, ClipBatch], dict[int, str]]:
    """Clips by their places, and why others cannot be read."""
    read, skipped = {}, {}
    for place in places:
        try:
            read[place] = clips[place]
        except VideoError as error:
            skipped[place] = str(error)
    return read, skipped


def _made_by(config: SearchConfig, tokenizer: VideoTokenizer) -> dict[str, Any]:
    """What decides the numbers: everything but where they go and how many go together."""
    entries: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    chosen = {name: value for name, value in entries.items() if name not in ("tokenizer", "folder", "batch", "part")}
    versions = {"evatok": evatok.__version__, "torch": torch.__version__}
    made = {"tokenizer": tokenizer.name, "checksum": tokenizer.checksum}
    shape = {"frames": tokenizer.config.clip_frames, "codes": tokenizer.config.quantizer.codes}
    return {**made, **shape, **chosen, "versions": versions}
