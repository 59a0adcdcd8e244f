"""What tokens must know besides their ids: the format they share, and a record of each video.

Numbers and names only: nothing here knows a model. A video is consecutive clips of `clip_blocks` blocks of
`block_frames` frames; only its last clip may have fewer blocks, and only its last block is filled up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from evatok.assignment import AssignmentSpace
from evatok.tokens.bits import bits_for
from evatok.utils.defaults import with_own_defaults
from evatok.video.fit import Fit

MAX_LEVELS = 256
MAX_CLIP_BLOCKS = 256
MAX_NAME = 200
MAX_SIDE = 2**31
MAX_FPS = 1_000_000
TICKS = 1_000_000  # of a second: time stamps are kept to the microsecond


@dataclass(frozen=True)
class TokenFormat:
    """What all tokens of one model have in common.

    Args:
        levels: token counts that a block may have, strictly increasing positive integers, at most 256.
        codebook_size: number of codes; ids are in [0, codebook_size). 2 to 2^31.
        block_frames: frames of a block, 1 to 65536.
        clip_blocks: blocks of a full clip, 1 to 256.
        model: id of the model (a shipped name, a hub id), at most 200 characters.
        checksum: of the model's weights, or of those of the model whose ids it has; at most 200 characters.

    Raises ValueError for anything else.
    """

    levels: tuple[int, ...]
    codebook_size: int
    block_frames: int
    clip_blocks: int
    model: str
    checksum: str

    def __post_init__(self) -> None:
        if len(self.levels) > MAX_LEVELS:
            raise ValueError(f"levels are {len(self.levels)}; there may be at most {MAX_LEVELS}")
        levels = tuple(check_integer("a level", level, 1, 2**31) for level in self.levels)
        check_integer("codebook_size", self.codebook_size, 2, 2**31)
        check_integer("block_frames", self.block_frames, 1, 65536)
        check_integer("clip_blocks", self.clip_blocks, 1, MAX_CLIP_BLOCKS)
        object.__setattr__(self, "levels", AssignmentSpace(levels, self.clip_blocks).levels)
        for name in ("model", "checksum"):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > MAX_NAME:
                raise ValueError(f"{name} is {text!r:.80}; it must be text of at most {MAX_NAME} characters")

    @property
    def id_bits(self) -> int:
        """Bits of one id."""
        return bits_for(self.codebook_size)

    @property
    def level_bits(self) -> int:
        """Bits of one block's length."""
        return bits_for(len(self.levels))

    def blocks_of(self, frames: int) -> int:
        """Blocks of a video of `frames` frames."""
        return -(-frames // self.block_frames)

    def clips_of(self, frames: int) -> int:
        """Clips of a video of `frames` frames."""
        return -(-self.blocks_of(frames) // self.clip_blocks)

    @with_own_defaults
    def block_mask(self, frames: Sequence[int]) -> Tensor:
        """Which blocks exist in the clips of videos of so many frames each: bool `(clips, T)`."""
        clips = torch.tensor([self.clips_of(n) for n in frames])
        blocks = torch.full((int(clips.sum()),), self.clip_blocks)
        last = clips.cumsum(0) - 1
        blocks[last] = torch.tensor([self.blocks_of(n) for n in frames]) - (clips - 1) * self.clip_blocks
        return torch.arange(self.clip_blocks) < blocks[:, None]


@dataclass(frozen=True, eq=False)
class VideoRecord:
    """What is known of one video that was tokenized.

    Args:
        frames: number of frames, at least 1.
        fps: frames per second, the average if the rate varies; above 0, at most 10^6.
        size: height and width of the original picture in pixels.
        fit: how the picture of this size was fitted to the model, as `Fit.to_dict()` gives it; empty if nothing is
            known.
        times: seconds from the first frame to each frame, float64 `(frames,)`, starting with 0 and not
            decreasing; None when the rate is constant. Kept to the microsecond.

    Raises ValueError for anything else.
    """

    frames: int
    fps: float
    size: tuple[int, int]
    fit: dict[str, Any] = field(default_factory=dict)
    times: Tensor | None = None

    def __post_init__(self) -> None:
        check_integer("frames", self.frames, 1, 2**53)
        if isinstance(self.fps, bool) or not isinstance(self.fps, int | float):
            raise ValueError(f"fps is {self.fps!r:.80}; it must be a number")
        if not 0 < self.fps <= MAX_FPS:
            raise ValueError(f"fps is {self.fps!r:.80}; it must be above 0 and at most {MAX_FPS}")
        object.__setattr__(self, "fps", float(self.fps))
        if len(self.size) != 2:
            raise ValueError(f"size is {self.size}; it must be a height and a width")
        sides = tuple(check_integer("a side of size", side, 1, MAX_SIDE) for side in self.size)
        object.__setattr__(self, "size", sides)
        object.__setattr__(self, "fit", _checked(self.fit, sides))
        if self.times is not None:
            object.__setattr__(self, "times", _whole_microseconds(self.times, self.frames))

    @property
    def seconds(self) -> float:
        """Duration: each frame lasts until the next one, the last one 1 / fps."""
        return self.frames / self.fps if self.times is None else float(self.times[-1]) + 1 / self.fps

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VideoRecord):
            return NotImplemented
        same = all(getattr(self, name) == getattr(other, name) for name in ("frames", "fps", "size", "fit"))
        if self.times is None or other.times is None:
            return same and self.times is other.times
        return same and torch.equal(self.times, other.times)


def check_integer(name: str, value: Any, low: int, high: int) -> int:
    """The value, if it is an integer from `low` to `high`; else a ValueError that names it."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r:.80}; it must be an integer from {low} to {high}")
    return value


def _checked(fit: dict[str, Any], size: tuple[int, ...]) -> dict[str, Any]:
    """The fit in the types that JSON gives back (lists, not tuples), so that it equals what a file holds."""
    if not isinstance(fit, dict):
        raise ValueError(f"fit is {fit!r:.80}; it must be a dict")
    if fit:
        known = Fit.from_dict(fit)
        if known.source != size:
            raise ValueError(f"fit is of a picture of {known.source}; size is {size}")
        for side in known.size:
            check_integer("a side of the fit's size", side, 1, MAX_SIDE)
    return {name: list(value) if isinstance(value, list | tuple) else value for name, value in fit.items()}


def _whole_microseconds(times: Tensor, frames: int) -> Tensor:
    if times.shape != (frames,):
        raise ValueError(f"times have shape {tuple(times.shape)}; {frames} frames need ({frames},)")
    ticks = (times.detach().cpu().double() * TICKS).round_()
    ordered = bool((ticks[1:] >= ticks[:-1]).all()) and ticks[0] == 0 and bool(torch.isfinite(ticks[-1]))
    if not ordered or ticks[-1] > 2**53:
        raise ValueError("times must start with 0, be finite and not decrease")
    return ticks.div_(TICKS)
