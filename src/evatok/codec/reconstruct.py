"""A video beside its reconstruction: scores, videos, a picture and the tokens, for a video of any length."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from evatok.codec.files import bits_per_pixel
from evatok.codec.targets import filled_together
from evatok.evaluation.metrics import ReconstructionMetrics
from evatok.figures.frames import side_by_side
from evatok.figures.tokens import Panel, moments_figure, save_png
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.clips import ClipReader
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import EncodedClips, VideoTokenizer
from evatok.tokens.tokens import Tokens, VideoRecord
from evatok.utils.background import in_background
from evatok.utils.files import write_json
from evatok.utils.tables import table
from evatok.video.fit import Box, Fit, Mode, Size, crop, to_bytes
from evatok.video.reading import VideoReader, write_video
from evatok.video.scaling import Scaler

FILES = ("reconstruction.mp4", "side_by_side.mp4", "picture.png", "tokens.tokens", "metrics.json")
MOMENTS = 6
# Pixels of height and width at which frames are shown, at most: two side by side fit a Full HD screen.
HIGHEST, WIDEST = 720, 956
# LPIPS on AlexNet needs pictures of this many pixels a side.
SMALLEST = 32


@dataclass(frozen=True)
class Scored:
    """What tokens cost and how well they reconstruct their video; quality is None where pictures are too small.

    Args:
        assignment: tokens of each block of a clip, or `by clip` where clips differ.
        frames: frames of the video.
        seconds: its duration.
        tokens: number of tokens.
        tokens_per_second: tokens for a second of video.
        bits_per_pixel: bits of the tokens for each pixel of the source video.
        psnr: in dB.
        ssim: at most 1.
        lpips: 0 and above.
        protocol: how quality was measured.
    """

    assignment: str
    frames: int
    seconds: float
    tokens: int
    tokens_per_second: float
    bits_per_pixel: float
    psnr: float | None
    ssim: float | None
    lpips: float | None
    protocol: str

    @classmethod
    def of(cls, tokens: Tokens, metrics: ReconstructionMetrics) -> "Scored":
        """The scores of one video's tokens after `measured` has seen all of its clips."""
        means: dict[str, float] = {}
        protocol = "the pictures are too small for SSIM and LPIPS"
        if metrics.resolutions:
            means = metrics.compute()
            protocol = f"{metrics.protocol}; at the tokenizer's resolution, before any file is written"
        return cls(
            assignment=_assignment(tokens),
            frames=tokens.videos[0].frames,
            seconds=tokens.seconds,
            tokens=tokens.num_tokens,
            tokens_per_second=tokens.tokens_per_second(),
            bits_per_pixel=bits_per_pixel(tokens),
            psnr=means.get("psnr"),
            ssim=means.get("ssim"),
            lpips=means.get("lpips"),
            protocol=protocol,
        )


def _assignment(tokens: Tokens) -> str:
    """The assignment of one video's clips, the last of which may have but its beginning."""
    first, last = tokens.assignments[0], tokens.assignments[-1]
    alike = set(tokens.assignments[:-1]) <= {first} and f"{first},".startswith(f"{last},")
    return first if alike else "by clip"


def reconstruct_file(
    source: Path,
    folder: Path,
    tokenizer: str,
    request: LengthRequest,
    *,
    fit: Mode = "keep",
    fps: float | None = None,
    track: int | None = None,
) -> Scored:
    """Encodes and decodes a video of any length, and compares; memory does not grow with the length.

    `folder` (made where there is none) gets `FILES`: all of them, or on an error none. Without the extra `figures`
    there is no picture, and the videos side by side have no captions. Other arguments are those of `encode_file`.

    Raises:
        ValueError: whatever is wrong with the files, the tokenizer or what is asked for.
        OSError: the files cannot be written.
        PackageError: if the weights of LPIPS cannot be fetched.
    """
    with filled_together(folder, FILES, source, tokenizer) as part:
        model = VideoTokenizer.from_pretrained(tokenizer)
        clips = model.file_clips(source, fit, fps, track)
        metrics = ReconstructionMetrics(LPIPS.from_pretrained("alex"))
        moments = Moments()
        beside = partial(
            write_beside, part / "side_by_side.mp4", source, clips.fit, fps=fps, track=track, moments=moments
        )
        # Two threads: x264 leaves the interpreter alone while it works, and so do torch and the decoder.
        with (
            in_background(partial(_write, part / "reconstruction.mp4", clips.fit, clips.fps)) as keep,
            in_background(beside) as keep_beside,
        ):
            shown = 0

            def watch(encoded: EncodedClips) -> None:
                nonlocal shown
                made = measured(model, encoded, clips.fit, metrics).flatten(0, 1)
                times = clips.times[shown : shown + len(made)]
                shown += len(made)
                for hand in (keep, keep_beside):
                    hand((made, times))

            tokens = model.encode_clips(clips, request, watch)
        tokens.save(part / "tokens.tokens")
        scored = Scored.of(tokens, metrics)
        if _can_draw():
            numbers, chosen = moments.evenly()
            shown_video = panel(tokens, numbers, chosen, _caption(scored), _chooser(request, model))
            save_png(moments_figure([shown_video]), part / "picture.png")
        write_json(part / "metrics.json", asdict(scored))
    return scored


def _can_draw() -> bool:
    """Whether there is what the extra `figures` brings."""
    return all(find_spec(name) for name in ("matplotlib", "PIL"))


def measured(model: VideoTokenizer, encoded: EncodedClips, fit: Fit, metrics: ReconstructionMetrics) -> Tensor:
    """Decodes clips and measures what the model made of what it saw, without a fit's bars, at the model's resolution.

    Returns:
        The reconstruction `(n, F, 3, h, w)` uint8 at the size that the model sees.
    """
    made = to_bytes(model.decode_clips(encoded.ids, encoded.lengths, fit.size)[:, : encoded.clips.shape[1]])
    if min(fit.inner[2:]) >= SMALLEST:
        metrics.update(crop(to_bytes(encoded.clips), fit.inner), crop(made, fit.inner))
    return made


class Moments:
    """Pairs of frames (original, reconstruction) from all over a stream of them whose length nobody knows."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._step, self._frames = 1, 0

    def add(self, original: Tensor, reconstruction: Tensor) -> None:
        """The next pair of the stream; every second one of those that are kept goes when they become many."""
        if self._frames % self._step == 0:
            self._kept[self._frames] = original, reconstruction
        if len(self._kept) > 4 * MOMENTS:
            self._step *= 2
            self._kept = {number: pair for number, pair in self._kept.items() if number % self._step == 0}
        self._frames += 1

    def evenly(self) -> tuple[list[int], list[tuple[Tensor, Tensor]]]:
        """Numbers of up to `MOMENTS` frames, and the pairs: those nearest to the middles of equal stretches."""
        wanted = evenly(self._frames, MOMENTS)
        numbers = sorted({min(self._kept, key=lambda kept: abs(kept - number)) for number in wanted})
        return numbers, [self._kept[number] for number in numbers]


def evenly(frames: int, count: int) -> list[int]:
    """Numbers of up to `count` frames in the middles of equal stretches of a video."""
    count = min(count, frames)
    return [(2 * i + 1) * frames // (2 * count) for i in range(count)]


def scores_table(rows: Sequence[Scored]) -> str:
    """Scores as text, a row each, and the protocol below."""
    cells = [
        (
            row.assignment,
            f"{row.tokens}",
            f"{row.tokens_per_second:.1f}",
            f"{row.bits_per_pixel:.4f}",
            "-" if row.psnr is None else f"{row.psnr:.2f}",
            "-" if row.ssim is None else f"{row.ssim:.4f}",
            "-" if row.lpips is None else f"{row.lpips:.4f}",
        )
        for row in rows
    ]
    header = ("assignment", "tokens", "tokens/s", "bits/pixel", "PSNR", "SSIM", "LPIPS")
    return f"{table(header, cells)}\n({rows[0].protocol})"


class FittedClips(ClipReader, Protocol):
    """Clips that say how they were brought to the model's size."""

    @property
    def fit(self) -> Fit:
        """Of all of them."""


def reconstructed(
    model: VideoTokenizer, clips: FittedClips, request: LengthRequest, lpips: LPIPS
) -> tuple[Tokens, Scored, Tensor]:
    """A video's tokens, their scores, and all frames `(F, 3, h, w)` uint8 as the model made them."""
    metrics, frames = ReconstructionMetrics(lpips), []

    def watch(encoded: EncodedClips) -> None:
        frames.append(measured(model, encoded, clips.fit, metrics).flatten(0, 1))

    tokens = model.encode_clips(clips, request, watch)
    return tokens, Scored.of(tokens, metrics), torch.cat(frames)


def block_edges(tokens: Tokens) -> list[float]:
    """Seconds at which the blocks of a video begin, and its end."""
    record = tokens.videos[0]
    return [*frame_seconds(record, range(0, record.frames, tokens.format.block_frames)), record.seconds]


def frame_seconds(record: VideoRecord, frames: Sequence[int]) -> list[float]:
    """When frames of a video are shown."""
    return [i / record.fps for i in frames] if record.times is None else record.times[list(frames)].tolist()


# Consecutive frames `(n, 3, h, w)` uint8 as the model made them, and the seconds at which they are shown.
Made = tuple[Tensor, Sequence[float]]


def apart(made: Iterable[Made]) -> tuple[Iterator[Tensor], Iterator[float]]:
    """Frames in pieces, and the time of each frame, which is there once its piece has been taken.

    Of the pieces that were taken only the last one is held; `tee` would hold up to 57.
    """
    waiting: deque[float] = deque()

    def frames() -> Iterator[Tensor]:
        for some, times in made:
            waiting.extend(times)
            yield some

    def seconds() -> Iterator[float]:
        while waiting:
            yield waiting.popleft()

    return frames(), seconds()


def _write(path: Path, fit: Fit, fps: float, made: Iterable[Made]) -> None:
    frames, times = apart(made)
    write_video(
        path,
        (crop(some, fit.inner) for some in frames),
        fps=fps,
        pixel_aspect=Fraction(*fit.pixel_aspect),
        times=times,
        size=fit.output_size,
    )


def write_beside(
    path: Path,
    source: Path,
    fit: Fit,
    made: Iterable[Made],
    *,
    fps: float | None = None,
    track: int | None = None,
    moments: Moments | None = None,
    highest: int = HIGHEST,
) -> None:
    """Writes a video of a source's frames beside what was made of them, as far as that goes.

    Args:
        path: of the video.
        source: is read once more, for its frames at the size at which they are shown.
        fit: by which the model saw them.
        made: what the model made of them, from the first frame on.
        fps: rate to which the source was resampled; None: it was not.
        track: number of the source's video track; None: the longest.
        moments: keeps some of the pairs; None: nothing does.
        highest: pixels of the pictures' height, at most.
    """
    frames, times = apart(made)
    captions = ("original", "reconstruction") if _can_draw() else ("", "")
    scale = _height(fit.output_size, highest) / fit.output_size[0]
    whole = (max(1, round(fit.source[0] * scale)), max(1, round(fit.source[1] * scale)))
    scaler = Scaler()

    def pairs() -> Iterator[Tensor]:
        for (frame, _), small in zip(reader, chain.from_iterable(frames), strict=False):
            original = crop(frame, _scaled(fit.box, scale, whole))
            reconstruction = scaler.picture(crop(small, fit.inner), (original.shape[-2], original.shape[-1]))
            if moments:
                moments.add(original, reconstruction)
            yield side_by_side((original, reconstruction), captions)

    with VideoReader(source, fps=fps, size=whole, track=track) as reader:
        write_video(path, pairs(), fps=fps or reader.info.fps, times=times)


def _scaled(box: Box, scale: float, whole: Size) -> Box:
    """A box in a picture that has been scaled to a size; it stays inside."""
    top, left = (min(round(start * scale), side - 1) for start, side in zip(box[:2], whole, strict=True))
    height, width = (max(1, round(length * scale)) for length in box[2:])
    return top, left, min(height, whole[0] - top), min(width, whole[1] - left)


def panel(
    tokens: Tokens, moments: Sequence[int], chosen: Sequence[tuple[Tensor, Tensor]], caption: str, chooser: str
) -> Panel:
    """A video for `moments_figure`: the frames at some moments, and all of its blocks, by who chose their lengths."""
    original, reconstruction = (torch.stack(list(frames)) for frames in zip(*chosen, strict=True))
    lengths = tokens.lengths[tokens.lengths > 0].tolist()
    seconds = frame_seconds(tokens.videos[0], moments)
    return Panel(seconds, original, reconstruction, lengths, block_edges(tokens), caption, chooser)


def _chooser(request: LengthRequest, model: VideoTokenizer) -> str:
    """The strategy that chooses the lengths, by its name in figures."""
    if request.uniform is not None:
        return "uniform"
    if request.assignment is not None or model.router is None:
        return "fixed"
    return f"beam {request.beam}" if request.beam else "router"


def _caption(scored: Scored) -> str:
    caption = f"{scored.tokens} tokens, {scored.tokens_per_second:.0f} a second, {scored.bits_per_pixel:.4f} bits/pixel"
    if scored.psnr is not None:
        caption += f"   PSNR {scored.psnr:.2f} dB, SSIM {scored.ssim:.3f}, LPIPS {scored.lpips:.3f}"
    return caption


def _height(size: Size, highest: int) -> int:
    """Height at which a picture is shown: small ones larger, large and very wide ones smaller; two fill a screen."""
    height, width = size
    return max(1, min(max(height, 240), highest, WIDEST * height // width))
