"""Tokens: what a tokenizer makes of videos, and all that is needed to make videos of them again.

The ids of all blocks stand one after the other; `lengths` says how many belong to each block of each clip,
the records say which clips are one video and how it was. Tokens are plain data on the CPU and know no model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from evatok.tokens.file import MAGIC, TokenFileError, check_magic, read_tokens, write_tokens
from evatok.tokens.limits import DEFAULT_LIMITS, TokenLimits
from evatok.tokens.records import TokenFormat, VideoRecord
from evatok.utils.defaults import with_own_defaults
from evatok.utils.files import replacing

__all__ = ["TokenFileError", "TokenFormat", "TokenLimits", "Tokens", "VideoRecord"]


@dataclass(frozen=True, eq=False, repr=False)
class Tokens:
    """Tokens of one or more videos.

    Args:
        format: what the tokens have in common: levels, codebook, blocks, model.
        videos: a record of each video, at least one.
        ids: all ids in order of video, clip, block; integers `(N,)` in [0, codebook_size); kept as int32.
        lengths: tokens of each block, integers `(clips, T)`, one row a clip in order of the videos. One of
            the levels where the block exists, 0 where a video's last clip has ended; kept as int64.

    Raises ValueError when these do not agree with each other.
    """

    format: TokenFormat
    videos: tuple[VideoRecord, ...]
    ids: Tensor
    lengths: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "videos", tuple(self.videos))
        if not self.videos:
            raise ValueError("videos is empty; tokens hold at least one video")
        for name, dims in (("lengths", 2), ("ids", 1)):
            tensor = getattr(self, name)
            if tensor.dim() != dims or tensor.is_floating_point() or tensor.is_complex():
                raise ValueError(f"{name} are {tensor.dtype} {tuple(tensor.shape)}; not {dims}-D integers")
        lengths = self.lengths.detach().to("cpu", torch.int64)
        ids = self.ids.detach().to("cpu")
        _check_lengths(self.format, self.videos, lengths)
        _check_ids(self.format, ids, int(lengths.sum()))
        object.__setattr__(self, "lengths", lengths)
        object.__setattr__(self, "ids", ids.to(torch.int32))

    def __len__(self) -> int:
        """Number of videos."""
        return len(self.videos)

    def __getitem__(self, index: int) -> "Tokens":
        """The tokens of one video."""
        video = range(len(self))[index]
        first, end = self._video_clips[video], self._video_clips[video + 1]
        ids = self.ids[self._clip_ends[first] : self._clip_ends[end]]
        return Tokens(self.format, (self.videos[video],), ids, self.lengths[first:end])

    def __iter__(self) -> Iterator["Tokens"]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        same = self.format == other.format and self.videos == other.videos
        return same and torch.equal(self.lengths, other.lengths) and torch.equal(self.ids, other.ids)

    def __repr__(self) -> str:
        frames = sum(video.frames for video in self.videos)
        counts = ((len(self), "video"), (self.num_clips, "clip"), (frames, "frame"))
        said = ", ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in counts)
        return (
            f"Tokens({said}, {self.seconds:.2f} s, {self.num_tokens} tokens, "
            f"{self.tokens_per_second():.1f} tokens/s, {self.bits()} bits, model {self.format.model!r})"
        )

    @staticmethod
    def cat(parts: Sequence["Tokens"]) -> "Tokens":
        """The videos of all parts, in order. Raises ValueError for no parts or parts of different formats."""
        if not parts:
            raise ValueError("there are no tokens to put together")
        for part in parts[1:]:
            if part.format != parts[0].format:
                raise ValueError(f"tokens of different formats: {parts[0].format} and {part.format}")
        videos = tuple(video for part in parts for video in part.videos)
        ids = torch.cat([part.ids for part in parts])
        return Tokens(parts[0].format, videos, ids, torch.cat([part.lengths for part in parts]))

    @property
    def num_tokens(self) -> int:
        """Number of ids."""
        return len(self.ids)

    @property
    def num_clips(self) -> int:
        """Number of clips of all videos."""
        return len(self.lengths)

    @property
    def num_blocks(self) -> int:
        """Number of blocks that exist."""
        return int((self.lengths > 0).sum())

    @property
    def seconds(self) -> float:
        """Duration of all videos."""
        return sum(video.seconds for video in self.videos)

    @property
    def assignments(self) -> tuple[str, ...]:
        """Each clip's lengths as the command line takes them: `"32,8,8,16"`."""
        return tuple(",".join(str(k) for k in row if k) for row in self.lengths.tolist())

    @cached_property
    def clip_starts(self) -> Tensor:
        """Where each clip begins in `ids`: int64 `(clips,)`."""
        return torch.tensor(self._clip_ends[:-1], device="cpu")

    def clip_ids(self, clip: int) -> Tensor:
        """The ids of one clip, counted over all videos: int32 `(length,)`."""
        index = range(self.num_clips)[clip]
        return self.ids[self._clip_ends[index] : self._clip_ends[index + 1]]

    def bits(self) -> int:
        """What the tokens say: ceil(log2 codebook_size) a token and ceil(log2 number of levels) a block."""
        return self.num_tokens * self.format.id_bits + self.num_blocks * self.format.level_bits

    def tokens_per_second(self) -> float:
        """Tokens for a second of video, over all videos."""
        return self.num_tokens / self.seconds

    @with_own_defaults
    def pad_to(self, length: int | None = None, value: int = -1) -> Tensor:
        """The clips' ids side by side, filled up at the end with `value`: int64 `(clips, length)`.

        `length` is that of the longest clip when nothing is said; ValueError when a clip is longer than it.
        """
        sizes = self.lengths.sum(dim=1)
        longest = int(sizes.max())
        length = longest if length is None else length
        if length < longest:
            raise ValueError(f"length is {length}; the longest clip has {longest} tokens")
        padded = torch.full((self.num_clips, length), value)
        padded[torch.arange(length) < sizes[:, None]] = self.ids.long()
        return padded

    def to_bytes(self) -> bytes:
        """The token file (docs/token-file.md); a video of constant rate takes up to `bits()` / 8 + 1 KiB."""
        return write_tokens(self.format, self.videos, self.ids, self.lengths)

    @staticmethod
    def from_bytes(data: bytes, limits: TokenLimits = DEFAULT_LIMITS) -> "Tokens":
        """Undo `to_bytes`. Raises TokenFileError for anything that is no whole, undamaged token file within limits."""
        return Tokens(*read_tokens(data, limits))

    def save(self, path: str | Path) -> None:
        """Write the token file; what was at `path` stays until the new file is complete."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.to_bytes())

    @staticmethod
    def load(path: str | Path, limits: TokenLimits = DEFAULT_LIMITS) -> "Tokens":
        """Read a token file. Raises TokenFileError, which names the path, when it cannot be read within limits."""
        try:
            with Path(path).open("rb") as file:
                start = file.read(len(MAGIC))
                check_magic(start)  # before all of a file is read that is none
                return Tokens.from_bytes(start + file.read(), limits)
        except OSError as error:
            raise TokenFileError(f"cannot read {path}: {error.strerror}") from error
        except TokenFileError as error:
            raise TokenFileError(f"cannot read {path}: {error}") from error

    @cached_property
    def _clip_ends(self) -> list[int]:
        """Offset in `ids` of each clip, and of the end."""
        return [0, *self.lengths.sum(dim=1).cumsum(0).tolist()]

    @cached_property
    def _video_clips(self) -> list[int]:
        """First clip of each video, and the number of clips."""
        return [0, *accumulate(self.format.clips_of(video.frames) for video in self.videos)]


def _check_lengths(form: TokenFormat, videos: Sequence[VideoRecord], lengths: Tensor) -> None:
    mask = form.block_mask([video.frames for video in videos])
    if lengths.shape != mask.shape:
        raise ValueError(f"lengths have shape {tuple(lengths.shape)}; the videos need {tuple(mask.shape)}")
    if not torch.equal(lengths != 0, mask):
        clip, block = (int(i) for i in ((lengths != 0) != mask).nonzero()[0])
        state = "exists" if mask[clip, block] else "is past the video's end"
        raise ValueError(f"lengths: block {block} of clip {clip} {state} but has {int(lengths[clip, block])} tokens")
    wrong = lengths[mask][~torch.isin(lengths[mask], torch.tensor(form.levels, device="cpu"))]
    if len(wrong):
        raise ValueError(f"lengths have a block of {int(wrong[0])} tokens; the levels are {form.levels}")


def _check_ids(form: TokenFormat, ids: Tensor, count: int) -> None:
    if len(ids) != count:
        raise ValueError(f"there are {len(ids)} ids; the lengths add up to {count}")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= form.codebook_size:
        raise ValueError(f"ids lie in [{low}, {high}]; the codebook has [0, {form.codebook_size - 1}]")
