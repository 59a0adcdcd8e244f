"""What a generator is asked for, as requests to its sampler: classes, frames that are given, lengths."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from evatok.generator.sampling import Request

if TYPE_CHECKING:
    from evatok.generator.model import VideoGenerator


def requested(
    generator: "VideoGenerator",
    classes: Sequence[str | int | None] | None,
    frames: Tensor | None,
    assignment: Sequence[int] | Tensor | None,
    first: int,
) -> list[Request]:
    """The requests that the arguments of `VideoGenerator.sample` make. Raises ValueError as it says."""
    if classes is None and frames is None:
        raise ValueError("classes or frames are needed: what the videos are to be of, or begin with")
    if isinstance(classes, str):
        raise ValueError(f"classes must be a list of them, one for each video, got {classes!r}")
    count = len(classes) if classes is not None else len(frames)  # type: ignore[arg-type]
    labels = [None] * count if classes is None else list(classes)
    if not count or (frames is not None and len(frames) != count):
        many = "none" if frames is None else len(frames)
        raise ValueError(f"as many classes as frames' videos are needed, at least one, got {len(labels)} and {many}")
    lengths = _lengths(assignment, count, generator.grammar.blocks)
    if frames is None:
        return [Request(first + n, label, tuple(lengths[n].tolist())) for n, label in enumerate(labels)]
    given = _given_blocks(generator, frames)
    longest, *shorter = generator.config.tokens.levels[::-1]
    own = torch.tensor([longest] + [(shorter or [longest])[0]] * (given - 1))
    lengths[:, :given] = torch.where(lengths[:, :given] == 0, own, lengths[:, :given])
    ids = _encoded(generator, frames, lengths[:, :given])
    return [
        Request(first + n, label, tuple(lengths[n].tolist()), given, ids[n].long()) for n, label in enumerate(labels)
    ]


def _lengths(assignment: Sequence[int] | Tensor | None, count: int, blocks: int) -> Tensor:
    """Lengths of each video's blocks, int64 `(count, blocks)`, 0 where none is asked for."""
    if assignment is None:
        return torch.zeros(count, blocks, dtype=torch.int64)
    lengths = torch.as_tensor(assignment).cpu()
    if lengths.is_floating_point() or tuple(lengths.shape) not in ((blocks,), (count, blocks)):
        raise ValueError(
            f"assignment must be integers of shape ({blocks},) or ({count}, {blocks}), "
            f"got {lengths.dtype} {tuple(lengths.shape)}"
        )
    return lengths.long().expand(count, blocks).clone()


def _given_blocks(generator: "VideoGenerator", frames: Tensor) -> int:
    """How many blocks given frames have; ValueError where they do not fit the generator."""
    config = generator.config
    if frames.ndim != 5 or frames.shape[1] < 1 or tuple(frames.shape[2:]) != (3, *config.picture):
        size = ", ".join(map(str, config.picture))
        raise ValueError(f"frames must be (B, F0, 3, {size}) with F0 from 1 on, got {tuple(frames.shape)}")
    blocks = -(-frames.shape[1] // config.tokens.block_frames)
    if blocks >= generator.grammar.blocks:
        most = config.frames - config.tokens.block_frames
        raise ValueError(f"at most {most} frames can be given, of videos of {config.frames}; got {frames.shape[1]}")
    return blocks


def _encoded(generator: "VideoGenerator", frames: Tensor, lengths: Tensor) -> list[Tensor]:
    """The codes of given frames, of each video."""
    if generator.tokenizer is None:
        raise ValueError(f"the generator has no tokenizer to encode frames with: {generator.config.tokens.model}")
    tokens, clip_blocks = generator.config.tokens, generator.config.tokens.clip_blocks
    parts = []
    for clip, part in zip(
        frames.split(tokens.clip_blocks * tokens.block_frames, 1), lengths.split(clip_blocks, 1), strict=True
    ):
        # Of a shorter clip the tokenizer takes the first lengths.
        whole = torch.full((len(frames), clip_blocks), tokens.levels[0])
        whole[:, : part.shape[1]] = part
        parts.append(generator.tokenizer.encode(clip, whole, fit="none"))
    return [torch.cat([each[n].ids for each in parts]) for n in range(len(frames))]
