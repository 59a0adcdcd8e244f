"""Clips out of sources: seeded random groups for training, and fixed ones for validation."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from evatok.data.clip_source import ClipSource, VideoEntry
from evatok.video.fit import Box, Size, crop, resize
from evatok.video.reading import VideoError

ATTEMPTS = 16  # draws for one clip before broken videos end the run


@dataclass(frozen=True)
class ClipBatch:
    """Clips of one size.

    Args:
        video: uint8 (clips, frames, 3, h, w).
        labels: int64 (clips,), each an index into the classes of all sources one after another; -1 for none.
        keys: where each clip comes from, as "source:video@start+step", mirrored ones marked.
    """

    video: Tensor
    labels: Tensor
    keys: list[str]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class ClipSamplerConfig:
    """How training clips are cut out of videos.

    Args:
        frames: frames of a clip.
        sizes: heights and widths of the clips in pixels; all clips of a group share one.
        size_weights: how often each of `sizes` is drawn, relative to the others.
        scale: the crop's side, from and to, as a share of the largest crop of its aspect ratio in the source;
            a crop is never smaller than the clip's size unless the source is.
        frame_strides: distances in frames between the frames of a clip.
        stride_weights: how often each of `frame_strides` is drawn. Where a video is too short, a smaller one is taken.
        mirror: probability that a clip is mirrored left to right.
    """

    frames: int = 16
    sizes: list[tuple[int, int]] = field(default_factory=lambda: [(64, 64), (48, 88), (56, 72), (72, 56)])
    size_weights: list[float] = field(default_factory=lambda: [0.7, 0.1, 0.1, 0.1])
    scale: tuple[float, float] = (0.35, 1.0)
    frame_strides: list[int] = field(default_factory=lambda: [1, 2, 3])
    stride_weights: list[float] = field(default_factory=lambda: [0.5, 0.3, 0.2])
    mirror: float = 0.5

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1, not {self.frames}")
        if not self.sizes or any(side < 1 for size in self.sizes for side in size):
            raise ValueError(f"sizes must be one or more pairs of a height and a width, not {self.sizes}")
        if not self.frame_strides or any(stride < 1 for stride in self.frame_strides):
            raise ValueError(f"frame_strides must be one or more distances of at least 1, not {self.frame_strides}")
        _check_weights("size_weights", self.size_weights, "sizes", len(self.sizes))
        _check_weights("stride_weights", self.stride_weights, "frame_strides", len(self.frame_strides))
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two shares, 0 < from <= to <= 1, not {self.scale}")
        if not 0 <= self.mirror <= 1:
            raise ValueError(f"mirror is a probability, between 0 and 1, not {self.mirror}")


def _check_weights(name: str, weights: list[float], of: str, count: int) -> None:
    if len(weights) != count or any(weight < 0 for weight in weights) or sum(weights) <= 0:
        raise ValueError(f"{name} must be a weight for each of the {count} {of}, not {weights}")


class TrainingClips(Dataset[ClipBatch]):
    """An endless series of groups of random clips: item `i` is a function of the seed and `i` alone.

    So order and content are the same for any number of workers, and a run resumes by starting at another `i`.
    A source is drawn by its weight, a video of it by its length, so that all its moments are as likely. A
    clip that cannot be read is replaced by the next draw for the same place, and its video noted in `quarantines`.

    Args:
        sources: the sources of the clips.
        weights: how often each source is drawn, relative to the others.
        config: how clips are cut.
        group_size: clips of a group.
        seed: of everything random.

    Raises:
        ValueError: two sources have one name, or a source has no video as long as a clip.
    """

    def __init__(
        self,
        sources: Sequence[ClipSource],
        weights: Sequence[float],
        config: ClipSamplerConfig,
        group_size: int,
        seed: int,
    ) -> None:
        _check_weights("weights", list(weights), "sources", len(sources))
        if group_size < 1:
            raise ValueError(f"group_size must be at least 1, not {group_size}")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, not {seed}")
        if len({source.name for source in sources}) < len(sources):
            raise ValueError(f"sources must differ in name: {', '.join(source.name for source in sources)}")
        self._sources = sources
        self._places = [_places_up_to(source, config.frames) for source in sources]
        self._shares = np.asarray(weights) / sum(weights)
        self._config, self._group_size, self._seed = config, group_size, seed
        self.classes = tuple(name for source in sources for name in source.classes)
        self._first_class = [0, *accumulate(len(source.classes) for source in sources)]
        self.quarantines = [quarantine for source in sources for quarantine in source.quarantines]

    def __getitem__(self, index: int) -> ClipBatch:
        """Group `index`, from 0 on: a ClipBatch of `group_size` clips."""
        config = self._config
        rng = np.random.default_rng([self._seed, index])
        size = config.sizes[_draw(rng, config.size_weights)]
        clips = [self._clip(index, place, size) for place in range(self._group_size)]
        video, labels, keys = zip(*clips, strict=True)
        return ClipBatch(torch.stack(video), torch.tensor(labels), list(keys))

    def _clip(self, index: int, place: int, size: tuple[int, int]) -> tuple[Tensor, int, str]:
        """One clip, its label and key. Each attempt has its own generator, whatever failed before."""
        last: VideoError | None = None
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([self._seed, index, 1 + place, attempt])
            number = int(rng.choice(len(self._sources), p=self._shares))
            source, first_class, places = self._sources[number], self._first_class[number], self._places[number]
            video = int(np.searchsorted(places, rng.integers(places[-1]), side="right"))
            try:
                clip, label, key = self._cut(source, video, size, rng)
            except VideoError as error:
                last = error
                continue
            return clip, label if label < 0 else first_class + label, key
        raise VideoError(f"{ATTEMPTS} draws in a row gave clips that cannot be read; the last: {last}") from last

    def _cut(
        self, source: ClipSource, video: int, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Tensor, int, str]:
        config, entry = self._config, source.describe(video)
        step = config.frame_strides[_draw(rng, config.stride_weights)]
        step = min(step, max((entry.frames - 1) // max(config.frames - 1, 1), 1))
        start = int(rng.integers(entry.frames - (config.frames - 1) * step))
        box = _random_box(entry, size, config.scale, rng)
        mirror = rng.random() < config.mirror
        clip = crop_and_resize(source.read(video, start, config.frames, step), box, size)
        key = f"{source.name}:{entry.key}@{start}+{step}{' mirrored' if mirror else ''}"
        return clip.flip(-1) if mirror else clip, entry.label, key


def _places_up_to(source: ClipSource, frames: int) -> NDArray[np.int64]:
    """How many places for a clip a source's videos have, up to each: one is drawn as often as it has places."""
    up_to = np.cumsum(np.maximum(source.lengths() - frames + 1, 0))
    if not len(source) or not up_to[-1]:
        raise ValueError(f"{source.name} has no video of at least {frames} frames")
    return up_to


class FixedClips(Dataset[ClipBatch]):
    """A fixed list of single clips, spread evenly over a source's videos: largest centre crops.

    Args:
        source: where the clips come from.
        count: how many; where it exceeds the number of videos, videos give several.
        size: height and width of the clips.
        frames: frames of a clip.
        step: distance between them in frames.
        seed: decides at which frame of its video a clip starts.

    Raises:
        ValueError: no video is long enough.
    """

    def __init__(
        self, source: ClipSource, count: int, size: tuple[int, int], frames: int = 16, step: int = 1, seed: int = 0
    ) -> None:
        self._span = (frames - 1) * step + 1
        self._usable = np.flatnonzero(source.lengths() >= self._span)
        if not len(self._usable):
            raise ValueError(f"{source.name} has no video of at least {self._span} frames")
        self._source, self._count, self._size, self._frames = source, count, size, frames
        self._step, self._seed = step, seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> ClipBatch:
        """Clip `number`: a ClipBatch of one, whose label is that of the source; VideoError if it cannot be read."""
        return self._cut(number, self._place(number))

    def first_readable(self, number: int) -> ClipBatch:
        """Clip `number`, of the next video that can be read if its own cannot; VideoError if none can."""
        place, places = self._place(number), len(self._usable)
        for further in range(places - 1):
            with suppress(VideoError):
                return self._cut(number, (place + further) % places)
        return self._cut(number, place - 1)

    def _place(self, number: int) -> int:
        return int((number + 0.5) * len(self._usable) / self._count)

    def _cut(self, number: int, place: int) -> ClipBatch:
        video = int(self._usable[place])
        entry = self._source.describe(video)
        start = int(np.random.default_rng([self._seed, number]).integers(entry.frames - self._span + 1))
        frames = self._source.read(video, start, self._frames, self._step)
        clip = crop_and_resize(frames, centre_box(entry.size, self._size), self._size)
        key = f"{self._source.name}:{entry.key}@{start}+{self._step}"
        return ClipBatch(clip[None], torch.tensor([entry.label]), [key])


def held_out_clips(
    sources: Sequence[ClipSource], count: int, size: tuple[int, int], frames: int, step: int = 1, seed: int = 0
) -> dict[str, ClipBatch]:
    """All of the `FixedClips` of each source, by its name; the next video stands in for one that cannot be read.

    Raises:
        ValueError: a source has no video that is long enough, or two have one name.
        VideoError: no video of a source can be read.
        TooManyBadVideos: more videos cannot be read than their source allows.
    """
    batches: dict[str, ClipBatch] = {}
    for source in sources:
        if source.name in batches:
            raise ValueError(f"two sources of held-out clips are called {source.name}; give them names of their own")
        clips = FixedClips(source, count, size, frames, step, seed)
        batches[source.name] = joined([clips.first_readable(number) for number in range(count)])
    return batches


def joined(batches: Sequence[ClipBatch]) -> ClipBatch:
    """Batches of clips of one size as one."""
    return ClipBatch(
        torch.cat([batch.video for batch in batches]),
        torch.cat([batch.labels for batch in batches]),
        [key for batch in batches for key in batch.keys],
    )


def crop_and_resize(video: Tensor, box: Box, size: Size) -> Tensor:
    """Cut `box` (top, left, height, width) out of uint8 (F, 3, H, W); bring it to `size` as encoding does."""
    return resize(crop(video, box), size).contiguous()


def centre_box(source: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest box (top, left, height, width) of `size`'s aspect ratio in the middle of `source`."""
    height, width = _box_size(source, size, 1.0)
    return (source[0] - height) // 2, (source[1] - width) // 2, height, width


def _random_box(
    entry: VideoEntry, size: tuple[int, int], scale: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    height, width = _box_size(entry.size, size, float(rng.uniform(*scale)))
    top = int(rng.integers(entry.size[0] - height + 1))
    left = int(rng.integers(entry.size[1] - width + 1))
    return top, left, height, width


def _box_size(source: tuple[int, int], size: tuple[int, int], scale: float) -> tuple[int, int]:
    """`scale` times the largest box of `size`'s aspect ratio in `source`; at least `size` where that fits."""
    largest = min(source[0] / size[0], source[1] / size[1])
    factor = min(max(scale * largest, 1.0), largest)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def _draw(rng: np.random.Generator, weights: Sequence[float]) -> int:
    return int(rng.choice(len(weights), p=np.asarray(weights) / sum(weights)))
