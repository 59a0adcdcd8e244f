"""The real side of a comparison: fixed clips out of sources, read as they are needed, and their features."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from evatok.data.clips import ClipBatch, FixedClips, joined
from evatok.data.sources import SourceConfig, open_source
from evatok.evaluation.fvd import fvd_features
from evatok.pretrained.i3d import I3D
from evatok.reports.clip_parts import ClipParts, tensor_texts, texts_tensor
from evatok.utils.configs import check_least
from evatok.video.fit import resize

# Clips that are measured and kept together.
TOGETHER = 64


@dataclass(frozen=True)
class RealClipsConfig:
    """Which real clips.

    Args:
        sources: where the clips come from, each under its own name.
        split: what they are, such as "UCF-101 training split"; numbers against another split do not compare.
        clips: clips of each source, spread evenly over its videos.
        seed: decides at which frame of its video a clip starts.
    """

    sources: list[SourceConfig]
    split: str
    clips: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources names none; give at least one, such as [{folder: my/videos}]")
        check_least(self, 2, "clips")
        check_least(self, 0, "seed")


class RealClips:
    """The clips of a config, numbered over all sources: largest centre crops.

    Args:
        config: which clips.
        size: height and width to which they are brought.
        frames: frames of a clip.
        step: distance between them, in frames of the video.

    Raises:
        ValueError: a source cannot be opened, two have one name, or one has no video that is long enough.
    """

    def __init__(self, config: RealClipsConfig, size: tuple[int, int], frames: int, step: int) -> None:
        self.config, self.size, self.frames, self.step = config, size, frames, step
        sources = [open_source(each) for each in config.sources]
        if len({source.name for source in sources}) < len(sources):
            raise ValueError(f"two of the sources {', '.join(source.name for source in sources)} have one name")
        self._clips = [FixedClips(source, config.clips, size, frames, step, config.seed) for source in sources]
        self.classes = tuple(name for source in sources for name in source.classes)
        self._first_class = [0, *accumulate(len(source.classes) for source in sources)]

    def __len__(self) -> int:
        return self.config.clips * len(self._clips)

    def batch(self, numbers: Sequence[int]) -> ClipBatch:
        """Clips of these numbers, labels counted over the classes of all sources; VideoError if one cannot be read."""
        return joined([self._clip(number) for number in numbers])

    def _clip(self, number: int) -> ClipBatch:
        source, own = divmod(number, self.config.clips)
        clip = self._clips[source].first_readable(own)
        labels = torch.where(clip.labels < 0, clip.labels, clip.labels + self._first_class[source])
        return ClipBatch(clip.video, labels, clip.keys)

    def plan(self) -> dict[str, object]:
        """All that decides which clips these are."""
        return {
            "sources": [asdict(source) for source in self.config.sources],
            "clips": self.config.clips,
            "seed": self.config.seed,
            "size": self.size,
            "frames": self.frames,
            "step": self.step,
        }


class Measured(NamedTuple):
    """Real clips as FVD knows them: logits `(N, 400)`, labels int64 `(N,)` and keys."""

    clips: RealClips
    logits: Tensor
    labels: Tensor
    keys: list[str]

    def numbers_in(self, classes: Sequence[str]) -> Tensor:
        """The labels as numbers of classes in another list, int64 `(N,)`; -1 for those that it does not have."""
        numbers = [classes.index(name) if name in classes else -1 for name in self.clips.classes] + [-1]
        return torch.tensor(numbers)[self.labels]


def measure_real(clips: RealClips, i3d: I3D, size: tuple[int, int], folder: Path) -> Measured:
    """Measures real clips at a size; parts are kept in a folder.

    Raises:
        ValueError: the folder has parts of other clips.
        VideoError: too many videos cannot be read.
    """
    parts = ClipParts(folder, clips.plan() | {"measured_size": size})

    def part(numbers: range) -> dict[str, Tensor]:
        batch = clips.batch(numbers)
        logits = logits_of(i3d, batch.video, size)
        return {"logits": logits, "labels": batch.labels, "keys": texts_tensor(batch.keys)}

    found = parts.measured(len(clips), TOGETHER, part, clips.config.split)
    return Measured(clips, found["logits"], found["labels"], tensor_texts(found["keys"]))


def logits_of(i3d: I3D, video: Tensor, size: tuple[int, int]) -> Tensor:
    """I3D's logits of clips uint8 `(B, F, 3, H, W)` that are first brought to a size."""
    return fvd_features(i3d, at_size(video, size).to(next(i3d.parameters()).device)).cpu()


def at_size(video: Tensor, size: tuple[int, int]) -> Tensor:
    """Clips uint8 `(B, F, 3, H, W)` brought to a size."""
    return resize(video.flatten(0, 1), size).unflatten(0, video.shape[:2])
