"""Parts of a search: which clips, by what, and the file of a part's table. Runners share the parts among processes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Subset

from evatok.allocation.predictors import motion
from evatok.assignment import Assignment
from evatok.data.clips import ClipBatch, ClipSamplerConfig, FixedClips, TrainingClips, joined
from evatok.data.sources import SourceConfig, open_source
from evatok.pretrained.lpips import LPIPS
from evatok.search.table import SearchTable
from evatok.search.thinning import FEWEST_WHOLE, draw_prefixes
from evatok.search.walk import search_clips
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.configs import check_least
from evatok.utils.files import replacing
from evatok.utils.parts import Part, Runner
from evatok.video.reading import VideoError


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
        lpips_net: the network of LPIPS, `alex` (cheap, for CPUs) or `vgg`.
        batch: clips that go through the tokenizer together.
        part: clips of a file; a run that is killed loses at most the parts under way.
        half: decodes and measures in bfloat16, which is faster; tokens come from float32 all the same.
        paths: thins the search: of each clip it measures every length of each block behind so many random paths of its
            own, and the path of the shortest lengths. None: every clip is measured under every assignment.
        whole: of a thinned search, the first clips, which are measured under every assignment all the same.
        runner: `local` searches in this process, `ray` in actors, on all machines of a Ray cluster if there is one
            (extra `ray`); these see the same files.
        actors: actors of `ray`, each with a GPU or its share of the cores; None: one for each GPU, or one.
    """

    tokenizer: str
    sources: list[SourceConfig]
    folder: str
    clips: int = 2000
    drawn: Literal["random", "held_out"] = "random"
    size: tuple[int, int] = (64, 64)
    seed: int = 0
    lpips_net: Literal["alex", "vgg"] = "alex"
    batch: int = 16
    part: int = 32
    half: bool = False
    paths: int | None = None
    whole: int = 96
    runner: Runner = "local"
    actors: int | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources names none; give at least one, such as [{folder: my/videos}]")
        check_least(self, 1, "clips", "batch", "part", "actors", "paths")
        check_least(self, 0, "seed")
        if self.paths is not None and self.drawn != "random":
            raise ValueError("paths thin the search of clips drawn at random; held-out clips are measured wholly")
        if self.paths is not None and self.whole < FEWEST_WHOLE:
            raise ValueError(f"whole must be at least {FEWEST_WHOLE} for a thinned search, got {self.whole}")


def frames_file(part: Part) -> Path:
    """File of the frames of a part's clips, uint8 `(clips, F, 3, H, W)`, in the order of its table."""
    return Path(part.path).with_suffix(".npy")


def open_clips(config: SearchConfig, frames: int) -> ConcatDataset[ClipBatch] | Subset[ClipBatch]:
    """The clips of a search, in order; they are read when they are asked for, and may turn out to be unreadable."""
    sources = [open_source(source) for source in config.sources]
    if config.drawn == "held_out":
        return ConcatDataset(
            [FixedClips(source, config.clips, config.size, frames, seed=config.seed) for source in sources]
        )
    sampler = ClipSamplerConfig(frames=frames, sizes=[config.size], size_weights=[1.0])
    weights = [source.weight for source in config.sources]
    return Subset(TrainingClips(sources, weights, sampler, 1, config.seed), range(config.clips))


class PartSearcher:
    """What searches parts, for `run_parts`, in one process: on the GPU that it sees, if any.

    Args:
        config: of the search.
        made_by: noted in the tables.
    """

    def __init__(self, config: SearchConfig, made_by: dict[str, Any]) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.config, self.made_by = config, made_by
        self.tokenizer = VideoTokenizer.from_pretrained(config.tokenizer, device=device)
        self.lpips = LPIPS.from_pretrained(config.lpips_net).to(device)
        self.clips = open_clips(config, self.tokenizer.config.clip_frames)

    def __call__(self, part: Part, done: Callable[[int], object]) -> None:
        """Searches a part and writes its files, whole or not at all; `done` is told how many more clips are done."""
        read, skipped = dict[int, ClipBatch](), dict[int, str]()
        for place in part.places:
            try:
                read[place] = self.clips[place]
            except VideoError as error:
                skipped[place] = str(error)
        # Before the table, which says that the part is done.
        self._keep_frames(part, read.values())
        space, empty = self.tokenizer.config.space, torch.empty(0, self.tokenizer.config.space.prefix_starts[-1])
        none = SearchTable(space, (), (), empty, empty, torch.empty(0, space.blocks), self.made_by, skipped)
        tables = [none]
        places = list(read)
        for start in range(0, len(places), self.config.batch):
            some = places[start : start + self.config.batch]
            tables.append(self._search_batch(some, joined([read[place] for place in some])))
            done(len(some))
        SearchTable.joined(tables).write(Path(part.path))
        done(len(skipped))

    def _keep_frames(self, part: Part, clips: Iterable[ClipBatch]) -> None:
        shape = (0, self.tokenizer.config.clip_frames, 3, *self.config.size)
        videos = [np.empty(shape, np.uint8), *(clip.video.numpy() for clip in clips)]
        with replacing(frames_file(part)) as temporary:
            np.save(temporary, np.concatenate(videos))

    def _wanted(self, place: int) -> frozenset[Assignment] | None:
        """The prefixes under which a clip is measured; None: all."""
        if self.config.paths is None or place < self.config.whole:
            return None
        seed = np.random.SeedSequence([self.config.seed, place]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(seed >> np.uint64(1)))
        return draw_prefixes(self.tokenizer.config.space, self.config.paths, generator)

    def _search_batch(self, places: list[int], clips: ClipBatch) -> SearchTable:
        config = self.tokenizer.config
        video = clips.video.to(self.tokenizer.device)
        values = search_clips(self.tokenizer, video, self.lpips, self.config.half, [*map(self._wanted, places)])
        moved = motion(clips.video, config.block_frames)
        keys = tuple(clips.keys)
        return SearchTable(config.space, tuple(places), keys, values.mse.cpu(), values.lpips.cpu(), moved, self.made_by)
