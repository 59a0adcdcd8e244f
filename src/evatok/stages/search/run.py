"""Stage 2: the search of every clip's quality under every assignment (paper, section 3)."""

import json
import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evatok.search.cheap import CheapPredictors
from evatok.search.table import SearchTable
from evatok.stages.search.folder import PREDICTORS, Plan, read_table
from evatok.stages.search.parts import PartSearcher, SearchConfig, open_clips
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.precision import native_precision
from evatok.training.versions import versions
from evatok.utils.parts import run_parts, undone

log = logging.getLogger(__name__)
# What of a config does not decide the numbers.
_NO_MATTER = ("tokenizer", "folder", "batch", "part", "runner", "actors")


def search(config: SearchConfig) -> SearchTable:
    """Searches all clips, from the start or from where an earlier run of the same config ended.

    A search of clips drawn at random can be made longer: the same config with more clips goes on.

    Returns:
        The table of all clips, which `read_table` reads from the folder again, NaN where it was thinned. Clips that
        cannot be read are left out, logged, and named in `skipped`. Beside the table are the clips' frames, and, of
        clips drawn at random, which a router may be trained on, the cheap predictors fitted to those measured wholly.

    Raises:
        ValueError: the folder holds another search, or a source cannot be opened.
        CheckpointError: there is no such tokenizer.
    """
    if config.half and native_precision() != "bf16":
        log.warning("this machine emulates bfloat16, which is very slow: half: false is faster here")
    tokenizer = VideoTokenizer.from_pretrained(config.tokenizer)
    clips = open_clips(config, tokenizer.config.clip_frames)
    folder = Path(config.folder)
    plan = Plan(_made_by(config, tokenizer), len(clips), config.part)
    plan.claim(folder)
    missing = undone(plan.parts(folder))
    with tqdm(total=len(clips), initial=len(clips) - sum(len(part.places) for part in missing), unit="clip") as bar:
        run_parts(partial(PartSearcher, config, plan.made_by), missing, config.runner, config.actors, bar.update)
    table = read_table(folder)
    if table.skipped:
        lines = "".join(f"\n  {place}: {reason}" for place, reason in table.skipped.items())
        log.warning("skipped %d of %d clips:%s", len(table.skipped), len(clips), lines)
    if config.drawn == "random" and len(table.whole) > 1:
        CheapPredictors.fit(table.whole).write(folder / PREDICTORS)
    return table


def _made_by(config: SearchConfig, tokenizer: VideoTokenizer) -> dict[str, Any]:
    """What decides the numbers: everything but where they go and how many go together."""
    entries: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    chosen = {name: value for name, value in entries.items() if name not in _NO_MATTER}
    if config.paths is None:
        chosen = {name: value for name, value in chosen.items() if name not in ("paths", "whole")}
    if config.drawn == "random":
        del chosen["clips"]
    made = {"tokenizer": tokenizer.name, "checksum": tokenizer.checksum}
    shape = {"frames": tokenizer.config.clip_frames, "codes": tokenizer.config.quantizer.codebook_size}
    return {**made, **shape, **chosen, "versions": versions()}
