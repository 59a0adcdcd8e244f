"""The tokenizer as users hold it: videos in, `Tokens` out, and back."""

import logging
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from evatok.assignment import AssignmentError
from evatok.data.fit import Fit, Mode, fill_blocks, plan_fit
from evatok.data.tokens import TokenFormat, Tokens, VideoRecord
from evatok.data.video import VideoReader
from evatok.nn import saving
from evatok.nn.packed import Layout
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.network import TokenizerNetwork

log = logging.getLogger(__name__)

# Clips that go through the network together. Tokens do not depend on it; memory does.
CLIPS_AT_ONCE = 8
SAVED = saving.Kind("tokenizer", "evatok.VideoTokenizer", TokenizerConfig)
TENSOR_FPS = 24.0

Lengths = Sequence[int] | Tensor


class TokenMismatch(ValueError):
    """Tokens that another model made."""


class VideoTokenizer(TokenizerNetwork):
    """A tokenizer with a chosen number of tokens for every block of four frames.

    `forward(video, lengths)` is the training pass (see `TokenizerNetwork`). `encode`, `decode` and `reconstruct` take
    videos of any length and size. A clip's tokens are the same alone, in any batch, twice.

    Args:
        config: what it is made of; `evatok.PRESETS` has named ones. Weights are random until trained or loaded.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        self.config = config
        self.name = "unnamed"
        self._checksum: tuple[int, str] | None = None

    @classmethod
    def from_pretrained(cls, name: str | Path) -> Self:
        """Loads a shipped tokenizer by its name, a folder that `save_pretrained` wrote, or a hub's repository.

        Returns:
            The tokenizer in float32, in evaluation mode, on the CPU.

        Raises:
            CheckpointError: a ValueError that says what is missing or does not fit.
        """
        folder = SAVED.find(name)
        with torch.device("meta"):
            model = cls(SAVED.read_config(folder))
        weights = saving.read_weights(folder, model.state_dict())
        model.load_state_dict(weights, assign=True)
        model.name = folder.resolve().name if Path(name).is_dir() else str(name)
        return model.eval()

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Writes `model.safetensors`, its numbers as `dtype`, and `config.json` into a folder."""
        SAVED.write(Path(folder), self.config, self.state_dict(), dtype)

    def push_to_hub(self, repository: str, *, private: bool = False, dtype: torch.dtype = torch.float32) -> str:
        """Uploads what `save_pretrained` writes to a hub's repository `owner/name`; returns its address."""
        from tempfile import TemporaryDirectory

        from huggingface_hub import HfApi

        api = HfApi()
        url = api.create_repo(repository, private=private, exist_ok=True)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, dtype)
            api.upload_folder(repo_id=repository, folder_path=folder)
        return str(url)

    @property
    def checksum(self) -> str:
        """Sixteen hexadecimal digits that change with any weight."""
        version = sum(weight._version for weight in self.parameters())
        if self._checksum is None or self._checksum[0] != version:
            self._checksum = version, saving.checksum(self.state_dict())
        return self._checksum[1]

    @property
    def token_format(self) -> TokenFormat:
        """What all tokens of this model have in common."""
        config = self.config
        return TokenFormat(
            levels=config.levels,
            codebook_size=config.quantizer.codes,
            block_frames=config.block_frames,
            clip_blocks=config.blocks,
            model=self.name,
            checksum=self.checksum,
        )

    @torch.no_grad()
    def encode(
        self,
        video: Tensor | str | Path,
        assignment: Lengths | None = None,
        *,
        fit: Mode = "keep",
        fps: float | None = None,
    ) -> Tokens:
        """Turns videos into tokens; never runs the decoder.

        Args:
            video: `(B, F, 3, H, W)`, uint8 or float in [-1, 1], with any F from 1 on and any size; or a video file's
                path, which is read as a stream, so memory does not grow with its length.
            assignment: tokens of each block of a clip: `(T,)` for all, or `(B, T)` for each video. A shorter clip takes
                its beginning. None: the config's `default_assignment`.
            fit: how pictures are brought to the trained area (see `plan_fit`): `keep` the aspect ratio, `crop` or
                `letterbox` to a square, or `none` to take sides as they are, multiples of the patch.
            fps: for a tensor, its frames per second (24 if nothing is said); for a file, a rate to resample to.

        Returns:
            Tokens of B videos. Each is cut into consecutive clips; the last one may have fewer blocks, and its last
            block is filled by repeating the last frame.

        Raises:
            ValueError: for any other shape, range, size or assignment; VideoError for a file that cannot be read.
            TypeError: for other types.
        """
        if isinstance(video, str | Path):
            return self._encode_file(video, self._assignments(assignment, 1), fit, fps)
        _check_video(video)
        lengths = self._assignments(assignment, len(video))
        fitted = self._plan_fit(_size(video), fit)
        parts: list[list[Tensor]] = [[] for _ in video]
        for clips in video.split(self.config.clip_frames, 1):
            for some, videos in zip(
                clips.split(CLIPS_AT_ONCE), torch.arange(len(video)).split(CLIPS_AT_ONCE), strict=True
            ):
                blocks = -(-some.shape[1] // self.config.block_frames)
                ids = self._encode_clips(fitted.apply(some), lengths[videos])
                pieces = ids.split(lengths[videos, :blocks].sum(1).tolist())
                for number, piece in zip(videos.tolist(), pieces, strict=True):
                    parts[number].append(piece)
        record = VideoRecord(video.shape[1], fps or TENSOR_FPS, _size(video), fitted.to_dict())
        return self._tokens([record] * len(video), lengths, torch.cat([piece for pieces in parts for piece in pieces]))

    def _encode_file(self, path: str | Path, lengths: Tensor, fit: Mode, fps: float | None) -> Tokens:
        # All that grows with the video: 4 bytes a token, 8 a frame.
        ids, times = array("i"), array("d")
        length = self.config.clip_frames
        with VideoReader(path, fps=fps) as reader:
            fitted = self._plan_fit(reader.info.size, fit)
            buffer = torch.empty(CLIPS_AT_ONCE * length, 3, *fitted.size)
            while count := _fill(buffer, reader, fitted, times):
                whole = count // length * length
                for clips in (buffer[:whole].unflatten(0, (whole // length, length)), buffer[None, whole:count]):
                    if clips.numel():
                        ids.frombytes(self._encode_clips(clips, lengths.expand(len(clips), -1)).numpy().tobytes())
            rate = fps or reader.info.fps
        stamps = _irregular(torch.frombuffer(times, dtype=torch.float64), rate)
        record = VideoRecord(len(times), rate, fitted.source, fitted.to_dict(), stamps)
        return self._tokens([record], lengths, torch.frombuffer(ids, dtype=torch.int32))

    def _plan_fit(self, size: tuple[int, int], mode: Mode) -> Fit:
        return plan_fit(size, area=self.config.side**2, patch=self.config.patch[1:], mode=mode)

    def _encode_clips(self, clips: Tensor, lengths: Tensor) -> Tensor:
        """Ids int32 of clips `(n, frames, 3, h, w)` in [-1, 1], clip after clip; the last block is filled up here."""
        filled = fill_blocks(clips, self.config.block_frames)
        blocks = filled.shape[1] // self.config.block_frames
        layout = Layout(tuple(map(tuple, lengths[:, :blocks].tolist())))
        weight = self.encoder.patches.linear.weight
        ids, _ = self.encode_blocks(filled.to(weight), layout)
        return ids.to("cpu", torch.int32)

    def _assignments(self, assignment: Lengths | None, videos: int) -> Tensor:
        """Full assignments of all videos, `(videos, T)` int64."""
        if assignment is None:
            log.info("no assignment given: taking the default %s", self.config.default_assignment)
            assignment = self.config.default_assignment
        lengths = torch.as_tensor(assignment)
        blocks = self.config.blocks
        if lengths.is_floating_point() or lengths.shape not in ((blocks,), (videos, blocks)):
            raise AssignmentError(
                f"assignment must be integers of shape ({blocks},) or ({videos}, {blocks}), "
                f"got {lengths.dtype} {tuple(lengths.shape)}"
            )
        lengths = lengths.expand(videos, blocks)
        for row in lengths.tolist():
            self.config.space.check(row)
        return lengths

    def _tokens(self, records: list[VideoRecord], lengths: Tensor, ids: Tensor) -> Tokens:
        made = self.token_format
        clips = torch.tensor([made.clips_of(record.frames) for record in records])
        mask = made.block_mask([record.frames for record in records])
        return Tokens(made, tuple(records), ids, lengths.repeat_interleave(clips, 0) * mask)

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
        self, video: Tensor | str | Path, assignment: Lengths | None = None, *, fit: Mode = "keep"
    ) -> Tensor:
        """`decode(encode(video, assignment))`: `(B, F, 3, H, W)` uint8."""
        return self.decode(self.encode(video, assignment, fit=fit))


def _size(video: Tensor) -> tuple[int, int]:
    return video.shape[-2], video.shape[-1]


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


def _fill(buffer: Tensor, frames: Iterator[tuple[Tensor, float]], fit: Fit, times: "array[float]") -> int:
    """Fits the next frames into a buffer `(n, 3, h, w)` and notes their times; returns how many there were."""
    count = 0
    for frame, time in islice(frames, len(buffer)):
        buffer[count] = fit.apply(frame)
        times.append(time)
        count += 1
    return count


def _irregular(times: Tensor, fps: float) -> Tensor | None:
    """The time stamps, unless they are those of a constant rate to half a millisecond."""
    regular = torch.arange(len(times), dtype=torch.float64) / fps
    return None if torch.allclose(times, regular, atol=5e-4, rtol=0) else times
