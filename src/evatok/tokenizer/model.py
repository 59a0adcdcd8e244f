"""The tokenizer as users hold it: videos in, `Tokens` out, and back."""

import math
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from evatok.nn.packed import Layout
from evatok.router.model import Router
from evatok.tokenizer.beam import Metric
from evatok.tokenizer.clips import CLIPS_AT_ONCE, TENSOR_FPS, ClipChunk, ClipReader, FileClips, TensorClips
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.lengths import LengthRequest, Lengths
from evatok.tokenizer.network import TokenizerNetwork
from evatok.tokens.limits import DEFAULT_LIMITS
from evatok.tokens.tokens import TokenFormat, TokenLimits, Tokens
from evatok.utils.defaults import with_own_defaults
from evatok.utils.saving import CONFIG, Kind, SavedModel
from evatok.video.fit import Fit, Mode, Size, fill_blocks, plan_fit, to_bytes
from evatok.video.rate import checked_fps

# Where a saved tokenizer has its router.
ROUTER = "router"


class TokenMismatch(ValueError):
    """Tokens that this model did not make, or cannot have made."""


class EncodedClips(NamedTuple):
    """Clips with their tokens.

    Args:
        clips: as the model saw them, `(n, F, 3, h, w)` float32 in [-1, 1]; to be used before the next ones come.
        lengths: tokens of each clip's blocks.
        ids: int32, clip after clip.
    """

    clips: Tensor
    lengths: list[list[int]]
    ids: Tensor


class VideoTokenizer(SavedModel[TokenizerConfig], TokenizerNetwork):
    """A tokenizer with a chosen number of tokens for every block of four frames.

    `forward(video, Layout.of(lengths))` is the training pass (see `TokenizerNetwork`). `encode`, `decode` and
    `reconstruct` take videos of any length and size. A clip's tokens are the same alone, in any batch, twice. Its
    router is saved, loaded and moved with it, and stays in float32.

    Args:
        config: what it is made of; `evatok.PRESETS` has named ones. Weights are random until trained or loaded.
    """

    KIND = Kind("tokenizer", "evatok.VideoTokenizer", TokenizerConfig)

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        # Not a submodule: its weights are no part of the tokenizer's, nor of its checksum.
        self._routers: tuple[Router, ...] = ()

    def _load_parts(self, folder: Path) -> None:
        """Loads the router in the subfolder `router`, if there is one."""
        if (folder / ROUTER / CONFIG).exists():
            self.set_router(Router.from_pretrained(folder / ROUTER))

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Writes `model.safetensors`, its numbers as `dtype`, and `config.json` into a folder.

        Its router, if it has one, goes into the subfolder `router` in the same way.
        """
        super().save_pretrained(folder, dtype)
        if self.router is not None:
            self.router.save_pretrained(Path(folder) / ROUTER, dtype)
        else:
            (Path(folder) / ROUTER / CONFIG).unlink(missing_ok=True)  # of what was there before

    @property
    def token_format(self) -> TokenFormat:
        """What all tokens of this model have in common."""
        config = self.config
        return TokenFormat(
            levels=config.levels,
            codebook_size=config.quantizer.codebook_size,
            block_frames=config.block_frames,
            clip_blocks=config.blocks,
            model=self.name,
            checksum=config.ids_of or self.checksum,
        )

    def decodes(self, tokens: TokenFormat) -> bool:
        """Whether tokens of a format are its own, or those of a tokenizer that differs from it by the decoder alone."""
        return tokens.checksum == self.token_format.checksum

    @property
    def router(self) -> Router | None:
        """What chooses lengths where a caller does not; None if there is none."""
        return self._routers[0] if self._routers else None

    def set_router(self, router: Router | None) -> Self:
        """Gives the tokenizer a router, or none: it is moved, saved and loaded with the tokenizer.

        Raises:
            ValueError: the router is for other levels, blocks or frames.
        """
        if router is not None and (router.config.space, router.config.clip_frames) != (
            self.config.space,
            self.config.clip_frames,
        ):
            raise ValueError(f"a router for {router.config.space} does not fit a tokenizer of {self.config.space}")
        self._routers = () if router is None else (router.to(self.device),)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `cuda` and the like come to; a router stays in float32, as its picks need it."""
        super()._apply(fn, recurse)
        for router in self._routers:
            router.to(self.device)
        return self

    def encode(
        self,
        video: Tensor | str | os.PathLike[str],
        assignment: Lengths | None = None,
        *,
        uniform: int | None = None,
        w_q: float | None = None,
        tokens: float | None = None,
        tokens_per_second: float | None = None,
        beam: int = 0,
        beam_metric: Metric | None = None,
        prefix: Sequence[int] = (),
        fit: Mode = "keep",
        fps: float | None = None,
        track: int | None = None,
    ) -> Tokens:
        """Turns videos into tokens; never runs the decoder.

        At most one of `assignment`, `uniform`, `w_q`, `tokens` and `tokens_per_second` says how many tokens
        (`LengthRequest` says what each means). Without any, the tokenizer's router decides, at its own preference;
        without a router it is the config's `default_assignment`. What came of it is in the tokens.

        Args:
            video: `(B, F, 3, H, W)`, uint8 or float in [-1, 1], with any F from 1 on and any size; or a video file's
                path, which is read as a stream, so memory does not grow with its length.
            assignment: tokens of each block of a clip: `(T,)` for all, or `(B, T)` for each video.
            uniform: tokens of every block.
            w_q: preference of quality over length, above 0 and at most 2.
            tokens: mean tokens of a clip, by a stored price.
            tokens_per_second: what a second of each video may take at most, on average over the video.
            beam: how many prefixes of a clip's lengths are followed by measuring, 0 for none: fewer tokens for more
                time (docs/routing.md says how many for how much).
            beam_metric: what is measured, LPIPS by `alex` or `vgg`, or `mse`; None: LPIPS as the router knows it.
            prefix: tokens of the first blocks of every clip, to which the router chooses the rest.
            fit: how pictures are brought to the trained area (see `plan_fit`): `keep` the aspect ratio, `crop` or
                `letterbox` to a square, or `none` to take sides as they are, multiples of the patch.
            fps: for a tensor, its frames per second (24 if nothing is said); for a file, a rate to resample to.
            track: of a file, the number of the video track, from 0 on; without it the longest that is no still picture.

        Returns:
            Tokens of B videos. Each is cut into consecutive clips; the last one may have fewer blocks, and its last
            block is filled by repeating the last frame.

        Raises:
            ValueError: for any other shape, range, size, assignment, preference or budget, and where a request needs
                a router and there is none; VideoError for a file that cannot be read.
            TypeError: for other types.
        """
        request = LengthRequest(assignment, uniform, w_q, tokens, tokens_per_second, beam, beam_metric, prefix)
        if isinstance(video, str | os.PathLike):
            return self.encode_clips(self.file_clips(video, fit, fps, track), request)
        return self.encode_clips(self.tensor_clips(video, fit, fps), request)

    def file_clips(
        self,
        path: str | os.PathLike[str],
        fit: Mode = "keep",
        fps: float | None = None,
        track: int | None = None,
        end: float | None = None,
    ) -> FileClips:
        """The clips of a file, or of its seconds before `end`, as `encode` reads them, for `encode_clips`."""
        return FileClips(path, partial(self._plan_fit, fit), self.config.clip_frames, fps, track, end)

    def tensor_clips(self, video: Tensor, fit: Mode = "keep", fps: float | None = None) -> TensorClips:
        """The clips of videos in memory as `encode` reads them, for `encode_clips`."""
        _check_video(video)
        plan = self._plan_fit(fit, (video.shape[-2], video.shape[-1]))
        return TensorClips(video, plan, self.config.clip_frames, TENSOR_FPS if fps is None else checked_fps(fps))

    @torch.no_grad()
    @with_own_defaults
    def encode_clips(
        self, reader: ClipReader, request: LengthRequest, watch: Callable[[EncodedClips], None] | None = None
    ) -> Tokens:
        """What `encode` does with the clips of videos; `watch` is shown them as soon as they have their tokens."""
        policy = request.policy(self, self.router, reader)
        # All that grows with a video: 4 bytes a token, a few numbers a clip.
        ids = [array("i") for _ in range(reader.videos)]
        lengths: list[list[list[int]]] = [[] for _ in ids]
        for chunk in reader.chunks():
            encoded = self._encode_chunk(chunk, policy.lengths(chunk).tolist())
            some = encoded.ids.split([sum(row) for row in encoded.lengths])
            for number, row, own in zip(chunk.videos, encoded.lengths, some, strict=True):
                ids[number].frombytes(own.numpy().tobytes())
                lengths[number].append(row + [0] * (self.config.blocks - len(row)))
            if watch:
                watch(encoded)
        return Tokens(
            self.token_format,
            tuple(reader.records()),
            torch.cat([torch.frombuffer(each, dtype=torch.int32) for each in ids]),
            torch.tensor([row for rows in lengths for row in rows]),
        )

    def _plan_fit(self, mode: Mode, size: Size) -> Fit:
        return plan_fit(size, area=self.config.side**2, patch=self.config.patch[1:], mode=mode)

    def _encode_chunk(self, chunk: ClipChunk, lengths: list[list[int]]) -> EncodedClips:
        """Fills the clips' last blocks up and encodes them."""
        filled = fill_blocks(chunk.clips, self.config.block_frames)
        ids, _ = self.encode_blocks(filled.to(next(self.parameters())), Layout(tuple(map(tuple, lengths))))
        return EncodedClips(chunk.clips, lengths, ids.to("cpu", torch.int32))

    @torch.no_grad()
    @with_own_defaults
    def decode_clips(self, ids: Tensor, lengths: list[list[int]], size: Size) -> Tensor:
        """Frames of clips with the same number of blocks, at the size that the model sees.

        Args:
            ids: int32 or int64, clip after clip.
            lengths: tokens of each clip's blocks.
            size: (height, width).

        Returns:
            `(n, F, 3, h, w)` float32 in [-1, 1], on the CPU; the frames that filled a last block up are among them.
        """
        layout = Layout(tuple(map(tuple, lengths)))
        video, _ = self.decode_blocks(ids.to(self.device, torch.int64), layout, size)
        return video.clamp(-1, 1).cpu()

    @with_own_defaults
    def decode(self, tokens: Tokens, limits: TokenLimits = DEFAULT_LIMITS) -> Tensor:
        """Turns tokens back into videos, `(B, F, 3, H, W)` uint8: as many frames and as large as was encoded.

        Raises:
            ValueError: if the videos differ in frames or size (decode them one by one: `for video in tokens`), or if
                they ask for more than the limits.
            TokenMismatch: if another model made the tokens.
        """
        if len({(record.frames, record.size, str(record.fit)) for record in tokens.videos}) > 1:
            raise ValueError("the videos differ in frames, size or fit: decode them one by one, `for video in tokens`")
        fit, clip_frames = self._fit(tokens, limits), self.config.clip_frames
        frames = torch.empty(tokens.num_clips, clip_frames, 3, *fit.output_size, dtype=torch.uint8)
        for clips, video in self._decoded(tokens, fit.size):
            frames[clips, : video.shape[1]] = fit.undo(video)
        return frames.unflatten(0, (len(tokens), -1)).flatten(1, 2)[:, : tokens.videos[0].frames]

    def decode_stream(
        self, tokens: Tokens, limits: TokenLimits = DEFAULT_LIMITS, *, undo_fit: bool = True
    ) -> Iterator[Tensor]:
        """The frames `(3, H, W)` uint8 of one video, made as they are asked for; memory does not grow with its length.

        Args:
            tokens: of one video.
            limits: what the video may ask for.
            undo_fit: False leaves the frames as the model made them, at its size and with a fit's bars.

        Raises:
            ValueError: if there is more than one video, or it asks for more than the limits.
            TokenMismatch: if another model made the tokens.
        """
        if len(tokens) != 1:
            raise ValueError(f"decode_stream takes one video, got {len(tokens)}; iterate: `for video in tokens`")
        fit = self._fit(tokens, limits)
        made = (frame for _, video in self._decoded(tokens, fit.size) for frame in video.flatten(0, 1))
        return map(fit.undo if undo_fit else to_bytes, islice(made, tokens.videos[0].frames))

    def _decoded(self, tokens: Tokens, size: Size) -> Iterator[tuple[Tensor, Tensor]]:
        """Numbers of clips, and their frames `(n, F, 3, h, w)` float32: full clips first, in order, as many as fit."""
        blocks = (tokens.lengths > 0).sum(1)
        for count in reversed(blocks.unique().tolist()):
            for clips in (blocks == count).nonzero()[:, 0].split(CLIPS_AT_ONCE):
                ids = torch.cat([tokens.clip_ids(clip) for clip in clips.tolist()])
                yield clips, self.decode_clips(ids, tokens.lengths[clips, :count].tolist(), size)

    def _fit(self, tokens: Tokens, limits: TokenLimits) -> Fit:
        """The fit of the first video of tokens that this model made and that ask for no more than the limits."""
        ours, theirs = self.token_format, tokens.format
        if not self.decodes(theirs):
            raise TokenMismatch(
                f"tokens were made by {theirs.model} ({theirs.checksum}), this is {ours.model} ({ours.checksum})"
            )
        for name in ("levels", "codebook_size", "block_frames", "clip_blocks"):
            if getattr(theirs, name) != getattr(ours, name):
                raise TokenMismatch(f"tokens have {name} {getattr(theirs, name)}, {ours.model} {getattr(ours, name)}")
        fit, patch = Fit.from_dict(tokens.videos[0].fit), self.config.patch[1:]
        if any(side < 1 or side % part for side, part in zip(fit.size, patch, strict=True)):
            raise TokenMismatch(f"tokens are of pictures of {fit.size}, those of {ours.model} are multiples of {patch}")
        limits.check("pixels", math.prod(fit.output_size), "the pixels of a frame are")
        limits.check(
            "enlarged", math.prod(fit.size) // self.config.side**2, "pixels over those of the trained area are"
        )
        return fit

    def reconstruct(
        self, video: Tensor | str | os.PathLike[str], assignment: Lengths | None = None, **options: Any
    ) -> Tensor:
        """`decode(encode(video, ...))`, with the options of `encode`: `(B, F, 3, H, W)` uint8."""
        return self.decode(self.encode(video, assignment, **options))


def _check_video(video: Tensor) -> None:
    if not isinstance(video, Tensor):
        raise TypeError(f"video must be a tensor or a path, got {type(video).__name__}")
    if video.ndim != 5 or video.shape[2] != 3 or 0 in video.shape:
        hint = "; a single video takes a batch dimension, `video[None]`" if video.ndim == 4 else ""
        raise ValueError(f"video must be (B, F, 3, H, W) with none of them 0, got {tuple(video.shape)}{hint}")
