"""Parts of a token set: which videos and clips, by what, and the tokens of a part. Runners share the parts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from evatok.data.clip_source import VideoEntry
from evatok.data.clips import centre_box, crop_and_resize
from evatok.data.sources import ClipSource, SourceConfig, open_source
from evatok.tokenizer.beam import Metric
from evatok.tokenizer.clips import ClipChunk
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import EncodedClips, VideoTokenizer
from evatok.tokens.token_set import ClipTokens, TokenSetHeader, write_part
from evatok.tokens.tokens import Tokens, VideoRecord
from evatok.utils.configs import check_least
from evatok.utils.parts import Part, Runner
from evatok.video.fit import plan_fit
from evatok.video.rate import checked_fps
from evatok.video.reading import VideoError

_BYTES_AT_ONCE = 2**28  # of frames that are read together, as large as a source has them


@dataclass(frozen=True)
class TokenizeConfig:
    """Which clips are tokenized, by what, and how many tokens they get: at most one of the values from `assignment` on.

    Args:
        data: where the videos come from, each under its own name; their classes count on from one source to the next.
            Of each video, consecutive full clips are taken from its beginning on; a last one that is not full is
            counted and left out.
        tokenizer: a shipped tokenizer's name, a folder that holds one, or a hub's repository.
        size: height and width of the clips, multiples of the patch: the largest centre crop is brought to it. None:
            the square that the tokenizer was trained on.
        frame_stride: distance in frames between the frames of a clip.
        mirrored: adds a copy of every clip that is flipped left to right.
        fps: frames per second of the clips. None: the sources' own (of a folder the median of its videos'), divided by
            `frame_stride`; where sources differ or have none, 24 divided by it.
        assignment: tokens of each block of a clip, such as [32, 8, 8, 16].
        uniform: tokens of every block.
        w_q: the router's choice at a preference of quality over length, above 0 and at most 2.
        tokens: the router's choice at about so many tokens a clip.
        tokens_per_second: the router's choice with so many at most, on average over each video. Without any of these,
            the router's own preference decides, or, where the tokenizer has none, its default assignment.
        beam: prefixes of a clip's lengths that are followed by measuring, fewer tokens for more time; 0: none.
        beam_metric: what is measured: LPIPS by `alex` or `vgg`, or `mse`; None: LPIPS as the router knows it.
        prefix: tokens of the first blocks of every clip, such as [128, 64]; the router chooses the rest.
        batch: clips that go through the tokenizer together; tokens do not depend on it.
        part: a file has as many videos as it takes to have so many clips; a run that is killed loses at most the
            parts under way.
        runner: `local` works in this process, `ray` in actors, on all machines of a Ray cluster if there is one
            (extra `ray`); these see the same files.
        actors: actors of `ray`, each with a GPU or its share of the cores; None: one for each GPU, or one.
    """

    data: list[SourceConfig]
    tokenizer: str
    size: tuple[int, int] | None = None
    frame_stride: int = 1
    mirrored: bool = False
    fps: float | None = None
    assignment: list[int] | None = None
    uniform: int | None = None
    w_q: float | None = None
    tokens: float | None = None
    tokens_per_second: float | None = None
    beam: int = 0
    beam_metric: Metric | None = None
    prefix: list[int] = field(default_factory=list)
    batch: int = 16
    part: int = 512
    runner: Runner = "local"
    actors: int | None = None

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("data names no source; give at least one, such as [{folder: my/videos}]")
        check_least(self, 1, "frame_stride", "batch", "part", "actors")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size must be a height and a width of at least 1, got {self.size}")
        if self.fps is not None:
            checked_fps(self.fps)
        _ = self.request

    @property
    def request(self) -> LengthRequest:
        """How many tokens clips get."""
        return LengthRequest(**{field.name: getattr(self, field.name) for field in fields(LengthRequest)})


class SourceVideo(NamedTuple):
    """A video of a source: its number there and the label in the whole set."""

    source: ClipSource
    number: int
    entry: VideoEntry
    label: int

    @property
    def key(self) -> str:
        """Source and video."""
        return f"{self.source.name}:{self.entry.key}"


class SetVideos:
    """All videos of sources that have a full clip, one source after the other.

    Args:
        sources: each with a name of its own.
        clip_frames: frames of a clip.
        stride: distance between them.

    Raises:
        ValueError: two sources or two classes have one name, or no video is long enough.
    """

    def __init__(self, sources: Sequence[ClipSource], clip_frames: int, stride: int) -> None:
        names = [source.name for source in sources]
        if len(set(names)) < len(names):
            raise ValueError(f"sources must differ in name: {', '.join(names)}")
        self._sources = sources
        self.classes = tuple(name for source in sources for name in source.classes)
        self._first_class = [0, *accumulate(len(source.classes) for source in sources)]
        frames = [-(-source.lengths() // stride) for source in sources]
        self._usable = [np.flatnonzero(each >= clip_frames) for each in frames]
        self._starts = [0, *accumulate(map(len, self._usable))]
        self.clips = np.concatenate([each[each >= clip_frames] // clip_frames for each in frames])
        self.incomplete = sum(int((each % clip_frames > 0).sum()) for each in frames)
        if not len(self.clips):
            raise ValueError(f"no video of {', '.join(names)} has the {clip_frames} frames of a clip, {stride} apart")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, place: int) -> SourceVideo:
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        source = self._sources[number]
        video = int(self._usable[number][place - self._starts[number]])
        entry = source.describe(video)
        return SourceVideo(source, video, entry, -1 if entry.label < 0 else self._first_class[number] + entry.label)

    def parts(self, least: int) -> list[range]:
        """Places of the videos of each part: as many as it takes to have `least` clips."""
        ends, cuts = np.cumsum(self.clips), [0]
        while cuts[-1] < len(self):
            before = ends[cuts[-1]] - self.clips[cuts[-1]]
            cuts.append(min(int(np.searchsorted(ends, before + least)) + 1, len(self)))
        return [range(*each) for each in pairwise(cuts)]


class PartTokenizer:
    """Everything that a process needs to tokenize parts, as `run_parts` has them done; on the GPU that it sees, if any.

    Args:
        config: what is tokenized, and how.
        header: of the set.
    """

    def __init__(self, config: TokenizeConfig, header: TokenSetHeader) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._config, self._header = config, header
        self._tokenizer = VideoTokenizer.from_pretrained(config.tokenizer, device=device)
        sources = [open_source(source) for source in config.data]
        self._videos = SetVideos(sources, self._tokenizer.config.clip_frames, config.frame_stride)

    def __call__(self, part: Part, done: Callable[[int], object]) -> None:
        """Writes a part, whole or not at all; `done` is told how many more clips are done."""
        reader = PartClips(self._videos, part.places, self._config, self._header)

        def watch(encoded: EncodedClips) -> None:
            done(len(encoded.lengths))

        tokens = self._tokenizer.encode_clips(reader, self._request, watch)
        write_part(Path(part.path), self._header, list(reader.rows(tokens)), reader.bad)

    @property
    def _request(self) -> LengthRequest:
        request, config = self._config.request, self._tokenizer.config
        # Said here, as it is logged otherwise, for each part again.
        if self._tokenizer.router is None and request == LengthRequest():
            return replace(request, assignment=config.default_assignment)
        return request


class PartClips:
    """The clips of a part's videos, mirrored ones as videos of their own, for `VideoTokenizer.encode_clips`.

    A video that cannot be read goes on in grey, and is noted in `bad`: it is to be left out in the end.

    Args:
        videos: of the whole set.
        places: of the part's videos.
        config: how clips are cut out of them.
        header: of the set.
    """

    def __init__(self, videos: SetVideos, places: range, config: TokenizeConfig, header: TokenSetHeader) -> None:
        self._videos, self._places, self._config = videos, places, config
        self._frames = header.format.clip_blocks * header.format.block_frames
        self._fps, self._fit = header.fps, plan_fit(header.picture, area=1, patch=(1, 1), mode="none")
        self._copies = 1 + config.mirrored
        self.bad: dict[str, str] = {}

    @property
    def videos(self) -> int:
        """As `ClipReader.videos` says."""
        return len(self._places) * self._copies

    def chunks(self) -> Iterator[ClipChunk]:
        """As `ClipReader.chunks` says."""
        batch, numbers, waiting = self._config.batch, list[int](), list[Tensor]()
        for number, clips in self._pieces():
            numbers += [number] * len(clips)
            waiting.append(clips)
            while len(numbers) >= batch:
                together, rest = torch.cat(waiting).tensor_split([batch])
                yield ClipChunk(numbers[:batch], self._fit.apply(together))
                numbers, waiting = numbers[batch:], [rest]
        if numbers:
            yield ClipChunk(numbers, self._fit.apply(torch.cat(waiting)))

    def records(self) -> list[VideoRecord]:
        """As `ClipReader.records` says."""
        frames = [int(self._videos.clips[place]) * self._frames for place in self._places]
        fit = self._fit.to_dict()
        return [VideoRecord(each, self._fps, self._fit.source, fit) for each in frames for _ in range(self._copies)]

    def rows(self, tokens: Tokens) -> Iterator[ClipTokens]:
        """The rows of a part's file, of videos that could be read: of each its plain clips, then its mirrored ones."""
        for number, video in enumerate(tokens):
            place, mirrored = divmod(number, self._copies)
            key, label = self._videos[self._places[place]].key, self._videos[self._places[place]].label
            if key not in self.bad:
                for clip, lengths in enumerate(video.lengths.numpy()):
                    yield ClipTokens(key, label, clip, bool(mirrored), lengths, video.clip_ids(clip).numpy())

    def _pieces(self) -> Iterator[tuple[int, Tensor]]:
        """Some clips of one of the reader's videos after the other, uint8 `(n, F, 3, h, w)`."""
        for number, place in enumerate(self._places):
            video, clips = self._videos[place], int(self._videos.clips[place])
            height, width = video.entry.size
            at_once = min(self._config.batch, max(1, _BYTES_AT_ONCE // (3 * height * width * self._frames)))
            for start in range(0, clips, at_once):
                piece = self._read(video, start, min(at_once, clips - start))
                yield number * self._copies, piece
                if self._config.mirrored:
                    yield number * self._copies + 1, piece.flip(-1)

    def _read(self, video: SourceVideo, start: int, count: int) -> Tensor:
        """Some clips of a video from one on, grey where it cannot be read."""
        size, stride = self._fit.size, self._config.frame_stride
        if video.key not in self.bad:
            try:
                first = start * self._frames * stride
                frames = video.source.read(video.number, first, count * self._frames, stride)
                return crop_and_resize(frames, centre_box(video.entry.size, size), size).unflatten(0, (count, -1))
            except VideoError as error:
                self.bad[video.key] = str(error)
        return torch.full((count, self._frames, 3, *size), 128, dtype=torch.uint8)
