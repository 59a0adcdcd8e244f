"""Stage 2: the search of every clip's quality under every assignment (paper, section 3)."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import evatok
from evatok.data.sources import source_config
from evatok.search.cheap import CheapPredictors
from evatok.search.table import SearchTable
from evatok.stages.search.completion import completed_table
from evatok.stages.search.parts import Part, PartSearcher, SearchConfig, open_clips
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.precision import native_precision
from evatok.utils.files import write_text

log = logging.getLogger(__name__)
PLAN = "search.json"
PREDICTORS = "predictors.safetensors"
# What of a config does not decide the numbers.
_NO_MATTER = ("tokenizer", "folder", "batch", "part", "runner", "actors")


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
        """Notes the plan in its folder; ValueError if the folder is that of a plan which this one does not go on."""
        path = folder / PLAN
        if path.exists():
            found = _read_plan(folder)
            if found == self:
                return
            if not self._goes_on(found):
                keys = sorted(found.made_by | self.made_by)
                differing = [key for key in keys if found.made_by.get(key) != self.made_by.get(key)]
                what = ", ".join(differing) or f"{found.clips} clips in parts of {found.part}"
                raise ValueError(f"{folder} holds another search, which differs in: {what}; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")

    def _goes_on(self, found: "_Plan") -> bool:
        """Whether all parts of another plan are parts of this one, which has more."""
        # Clips that are drawn at random are the same ones, however many there are; their number makes no numbers.
        same = found.made_by == self.made_by and "clips" not in self.made_by and found.part == self.part
        return same and found.clips < self.clips and found.clips % found.part == 0


def _read_plan(folder: Path) -> _Plan:
    try:
        return _Plan(**json.loads((folder / PLAN).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder} holds no search: {error}") from error


def search(config: SearchConfig) -> SearchTable:
    """Searches all clips, from the start or from where an earlier run of the same config ended.

    A search of clips drawn at random can be made longer: the same config with more clips goes on.

    Returns:
        The whole table, which `read_table` reads from the folder again. Clips that cannot be read are left out,
        logged, and named in `skipped`. Beside a table of clips drawn at random, which a router may be trained on, are
        the cheap predictors that are fitted to it.

    Raises:
        ValueError: the folder holds another search, or a source cannot be opened.
        CheckpointError: there is no such tokenizer.
    """
    if config.half and native_precision() != "bf16":
        log.warning("this machine emulates bfloat16, which is very slow: half: false is faster here")
    tokenizer = VideoTokenizer.from_pretrained(config.tokenizer)
    clips = open_clips(config, tokenizer.config.clip_frames)
    folder = Path(config.folder)
    plan = _Plan(_made_by(config, tokenizer), len(clips), config.part)
    plan.claim(folder)
    missing = [Part(str(folder / name), places) for name, places in plan.parts if not (folder / name).exists()]
    with tqdm(total=len(clips), initial=len(clips) - sum(len(part.places) for part in missing), unit="clip") as bar:
        for done in _run(config, plan.made_by, missing):
            bar.update(done)
    table = read_table(folder)
    if table.skipped:
        lines = "".join(f"\n  {place}: {reason}" for place, reason in table.skipped.items())
        log.warning("skipped %d of %d clips:%s", len(table.skipped), len(clips), lines)
    if config.drawn == "random" and len(table) > 1:
        CheapPredictors.fit(table).write(folder / PREDICTORS)
    return table


def _run(config: SearchConfig, made_by: dict[str, Any], parts: list[Part]) -> Iterator[int]:
    """Writes parts of the table; yields how many more clips are done, whenever some are."""
    if config.runner == "ray" and parts:
        from evatok.stages.search.ray import search_by_ray

        yield from search_by_ray(config, made_by, parts)
    elif parts:
        searcher = PartSearcher(config, made_by)
        for part in parts:
            yield from searcher.search(part)


def read_table(folder: Path) -> SearchTable:
    """The table of a finished search, completed where it was thinned; ValueError if there is none, or it goes on."""
    return completed_table(folder, SearchTable.joined(read_parts(folder)))


def read_parts(folder: Path) -> list[SearchTable]:
    """The parts of the table of a finished search as they were measured; ValueError as for `read_table`."""
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
    clips = entries.pop("clips", plan.clips)
    return SearchConfig(**entries, sources=sources, clips=clips, size=(height, width), folder=str(folder))


def _made_by(config: SearchConfig, tokenizer: VideoTokenizer) -> dict[str, Any]:
    """What decides the numbers: everything but where they go and how many go together."""
    entries: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    chosen = {name: value for name, value in entries.items() if name not in _NO_MATTER}
    if config.follow is None:
        chosen = {name: value for name, value in chosen.items() if name not in ("follow", "whole")}
    if config.drawn == "random":
        del chosen["clips"]
    versions = {"evatok": evatok.__version__, "torch": torch.__version__}
    made = {"tokenizer": tokenizer.name, "checksum": tokenizer.checksum}
    shape = {"frames": tokenizer.config.clip_frames, "codes": tokenizer.config.quantizer.codes}
    return {**made, **shape, **chosen, "versions": versions}
