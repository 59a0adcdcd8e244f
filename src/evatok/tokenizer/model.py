"""The tokenizer as users hold it: videos in, `Tokens` out, and back."""

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from evatok.nn.packed import Layout
from evatok.router.model import Router
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.footage import CLIPS_AT_ONCE, TENSOR_FPS, FileFootage, Footage, TensorFootage
from evatok.tokenizer.lengths import Chooser, Lengths, Wish, chooser
from evatok.tokenizer.network import TokenizerNetwork
from evatok.tokens.tokens import TokenFormat, Tokens
from evatok.utils.saving import CONFIG, Kind, SavedModel
from evatok.video.fit import Fit, Mode, fill_blocks, plan_fit

# Where a saved tokenizer has its router.
ROUTER = "router"


class TokenMismatch(ValueError):
    """Tokens that another model made."""


class VideoTokenizer(SavedModel[TokenizerConfig], TokenizerNetwork):
    """A tokenizer with a chosen number of tokens for every block of four frames.

    `forward(video, Layout.of(lengths))` is the training pass (see `TokenizerNetwork`). `encode`, `decode` and
    `reconstruct` take videos of any length and size. A clip's tokens are the same alone, in any batch, twice. A router
    that it carries is saved, loaded and moved with it, and stays in float32.

    Args:
        config: what it is made of; `evatok.PRESETS` has named ones. Weights are random until trained or loaded.
    """

    KIND = Kind("tokenizer", "evatok.VideoTokenizer", TokenizerConfig)

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        # Not a submodule: its weights are no part of the tokenizer's, nor of its checksum.
        self._carried: tuple[Router, ...] = ()

    def _load_parts(self, folder: Path) -> None:
        """Loads the router in the subfolder `router`, if there is one."""
        if (folder / ROUTER / CONFIG).exists():
            self.carry(Router.from_pretrained(folder / ROUTER))

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Writes `model.safetensors`, its numbers as `dtype`, and `config.json` into a folder.

        A router that the tokenizer carries goes into the subfolder `router` in the same way.
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
            checksum=self.checksum,
        )

    @property
    def router(self) -> Router | None:
        """What chooses lengths where a caller does not; None if the tokenizer carries none."""
        return self._carried[0] if self._carried else None

    def carry(self, router: Router | None) -> Self:
        """Lets the tokenizer carry a router, or none: it is moved, saved and loaded with the tokenizer.

        Raises:
            ValueError: the router is for other levels, blocks or frames.
        """
        if router is not None and (router.config.space, router.config.clip_frames) != (
            self.config.space,
            self.config.clip_frames,
        ):
            raise ValueError(f"a router for {router.config.space} does not fit a tokenizer of {self.config.space}")
        self._carried = () if router is None else (router.to(self.device),)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `cuda` and the like come to; a router stays in float32, as its picks need it."""
        super()._apply(fn, recurse)
        for router in self._carried:
            router.to(self.device)
        return self

    @torch.no_grad()
    def encode(
        self,
        video: Tensor | str | Path,
        assignment: Lengths | None = None,
        *,
        w_q: float | None = None,
        tokens: float | None = None,
        tokens_per_second: float | None = None,
        fit: Mode = "keep",
        fps: float | None = None,
    ) -> Tokens:
        """Turns videos into tokens; never runs the decoder.

        At most one of `assignment`, `w_q`, `tokens` and `tokens_per_second` says how many tokens. Without any, the
        router that the tokenizer carries decides, at its own preference; without a router it is the config's
        `default_assignment`. What came of it is in the tokens.

        Args:
            video: `(B, F, 3, H, W)`, uint8 or float in [-1, 1], with any F from 1 on and any size; or a video file's
                path, which is read as a stream, so memory does not grow with its length.
            assignment: tokens of each block of a clip: `(T,)` for all, or `(B, T)` for each video. A shorter clip takes
                its beginning.
            w_q: preference of quality over length in the proxy reward, above 0 (fewest tokens) and at most 2.
            tokens: mean tokens of a clip, by a price that is stored with the router: clips like those that it was
                calibrated on take so many on average, others more or fewer.
            tokens_per_second: what a second of each video may take at most, on average over the video, by one price for
                all its clips. The video is read twice.
            fit: how pictures are brought to the trained area (see `plan_fit`): `keep` the aspect ratio, `crop` or
                `letterbox` to a square, or `none` to take sides as they are, multiples of the patch.
            fps: for a tensor, its frames per second (24 if nothing is said); for a file, a rate to resample to.

        Returns:
            Tokens of B videos. Each is cut into consecutive clips; the last one may have fewer blocks, and its last
            block is filled by repeating the last frame.

        Raises:
            ValueError: for any other shape, range, size, assignment, preference or budget, and where a wish needs a
                router and there is none; VideoError for a file that cannot be read.
            TypeError: for other types.
        """
        wish = Wish(assignment, w_q, tokens, tokens_per_second)
        footage: Footage
        if isinstance(video, str | Path):
            videos = 1
            footage = FileFootage(video, lambda size: self._plan_fit(size, fit), self.config.clip_frames, fps)
        else:
            _check_video(video)
            videos, plan = len(video), self._plan_fit((video.shape[-2], video.shape[-1]), fit)
            footage = TensorFootage(video, plan, self.config.clip_frames, fps or TENSOR_FPS)
        return self._encode(footage, chooser(wish, self.config, self.router, footage, videos), videos)

    def _encode(self, footage: Footage, choose: Chooser, videos: int) -> Tokens:
        # All that grows with a video: 4 bytes a token, a few numbers a clip.
        ids = [array("i") for _ in range(videos)]
        lengths: list[list[list[int]]] = [[] for _ in range(videos)]
        for piece in footage.pieces():
            chosen = choose.lengths(piece).tolist()
            pieces = self._encode_clips(piece.clips, chosen).split([sum(row) for row in chosen])
            for number, row, some in zip(piece.videos, chosen, pieces, strict=True):
                ids[number].frombytes(some.numpy().tobytes())
                lengths[number].append(row + [0] * (self.config.blocks - len(row)))
        return Tokens(
            self.token_format,
            tuple(footage.records()),
            torch.cat([torch.frombuffer(each, dtype=torch.int32) for each in ids]),
            torch.tensor([row for rows in lengths for row in rows]),
        )

    def _plan_fit(self, size: tuple[int, int], mode: Mode) -> Fit:
        return plan_fit(size, area=self.config.side**2, patch=self.config.patch[1:], mode=mode)

    def _encode_clips(self, clips: Tensor, lengths: list[list[int]]) -> Tensor:
        """Ids int32 of clips `(n, frames, 3, h, w)` in [-1, 1], clip after clip; the last block is filled up here."""
        filled = fill_blocks(clips, self.config.block_frames)
        ids, _ = self.encode_blocks(filled.to(next(self.parameters())), Layout(tuple(map(tuple, lengths))))
        return ids.to("cpu", torch.int32)

    def decode(self, tokens: Tokens) -> Tensor:
        """Turns tokens back into videos, `(B, F, 3, H, W)` uint8: as many frames and as large as was encoded.

        Raises:
            ValueError: if the videos differ in frames or size (decode them one by one: `for video in tokens`).
            TokenMismatch: if another model made the tokens.
        """
        if len({(record.frames, record.size, str(record.fit)) for record in tokens.videos}) > 1:
            raise ValueError("the videos differ in frames, size or fit: decode them one by one, `for video in tokens`")
        self._check_tokens(tokens)
        return torch.stack([torch.stack(list(self.decode_stream(video))) for video in tokens])

    @torch.no_grad()
    def decode_stream(self, tokens: Tokens) -> Iterator[Tensor]:
        """Yields the frames `(3, H, W)` uint8 of one video; memory does not grow with its length.

        Raises:
            ValueError: if there is more than one video.
            TokenMismatch: if another model made the tokens.
        """
        if len(tokens) != 1:
            raise ValueError(f"decode_stream takes one video, got {len(tokens)}; iterate: `for video in tokens`")
        self._check_tokens(tokens)
        record, left = tokens.videos[0], tokens.videos[0].frames
        fit = Fit.from_dict(record.fit)
        for first in range(0, tokens.num_clips, CLIPS_AT_ONCE):
            for clips in _equal_blocks(tokens, range(first, min(first + CLIPS_AT_ONCE, tokens.num_clips))):
                video = self._decode_clips(tokens, clips, fit.size)
                frames = video.flatten(0, 1)[:left]
                left -= len(frames)
                yield from map(fit.undo, frames)

    def _decode_clips(self, tokens: Tokens, clips: range, size: tuple[int, int]) -> Tensor:
        """Frames `(clips, F, 3, h, w)` in [-1, 1] of consecutive clips with the same number of blocks."""
        layout = Layout(tuple(tuple(k for k in row if k) for row in tokens.lengths[clips.start : clips.stop].tolist()))
        ids = torch.cat([tokens.clip_ids(clip) for clip in clips]).to(self.device, torch.int64)
        video, _ = self.decode_blocks(ids, layout, size)
        return video.clamp(-1, 1).cpu()

    def _check_tokens(self, tokens: Tokens) -> None:
        ours, theirs = self.token_format, tokens.format
        if theirs.checksum != ours.checksum:
            raise TokenMismatch(
                f"tokens were made by {theirs.model} ({theirs.checksum}), this is {ours.model} ({ours.checksum})"
            )

    def reconstruct(
        self,
        video: Tensor | str | Path,
        assignment: Lengths | None = None,
        *,
        w_q: float | None = None,
        tokens: float | None = None,
        tokens_per_second: float | None = None,
        fit: Mode = "keep",
    ) -> Tensor:
        """`decode(encode(video, ...))`: `(B, F, 3, H, W)` uint8."""
        wish = {"w_q": w_q, "tokens": tokens, "tokens_per_second": tokens_per_second}
        return self.decode(self.encode(video, assignment, **wish, fit=fit))


def _check_video(video: Tensor) -> None:
    if not isinstance(video, Tensor):
        raise TypeError(f"video must be a tensor or a path, got {type(video).__name__}")
    if video.ndim != 5 or video.shape[2] != 3 or 0 in video.shape:
        hint = "; a single video takes a batch dimension, `video[None]`" if video.ndim == 4 else ""
        raise ValueError(f"video must be (B, F, 3, H, W) with none of them 0, got {tuple(video.shape)}{hint}")


def _equal_blocks(tokens: Tokens, clips: range) -> list[range]:
    """Cuts off the last clip if it has fewer blocks than the others."""
    counts = (tokens.lengths[clips.start : clips.stop] > 0).sum(1)
    if len(clips) > 1 and counts[-1] != counts[0]:
        return [range(clips.start, clips.stop - 1), range(clips.stop - 1, clips.stop)]
    return [clips]
