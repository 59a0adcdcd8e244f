"""A video beside its reconstruction: scores, videos, a picture and the tokens, for a video of any length."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from evatok.codec.files import Asked, FileError, bits_per_pixel
from evatok.evaluation.metrics import ReconstructionMetrics
from evatok.figures.frames import resized, side_by_side
from evatok.figures.tokens import Panel, moments_figure, save_png
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.tokens import Tokens
from evatok.utils.background import in_background
from evatok.utils.files import write_text
from evatok.utils.tables import table
from evatok.video.fit import Fit, Mode, to_bytes
from evatok.video.reading import VideoReader, write_video

FILES = ("reconstruction.mp4", "side_by_side.mp4", "picture.png", "tokens.tokens", "metrics.json")
MOMENTS = 6
# Pixels of height at which frames are shown, at most.
HIGHEST = 720
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
        """The scores of one video's tokens after `compare` has run to its end."""
        psnr = ssim = lpips = None
        protocol = "the pictures are too small for SSIM and LPIPS"
        if metrics.resolutions:
            means = metrics.compute()
            psnr, ssim, lpips = means["psnr"], means["ssim"], means["lpips"]
            protocol = f"{metrics.protocol}; at the tokenizer's resolution, before any file is written"
        return cls(
            assignment=_assignment(tokens),
            frames=tokens.videos[0].frames,
            seconds=tokens.seconds,
            tokens=tokens.num_tokens,
            tokens_per_second=tokens.tokens_per_second(),
            bits_per_pixel=bits_per_pixel(tokens),
            psnr=psnr,
            ssim=ssim,
            lpips=lpips,
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
    asked: Asked,
    *,
    fit: Mode = "keep",
    fps: float | None = None,
) -> Scored:
    """Encodes and decodes a video of any length, and compares; memory does not grow with the length.

    `folder` (made where there is none) gets `FILES`: all of them, or on an error none. Without the extra `figures`
    there is no picture, and the videos side by side have no captions. Other arguments are those of `encode_file`.

    Raises:
        ValueError: whatever is wrong with the files, the tokenizer or what is asked for.
        PackageError: if the weights of LPIPS cannot be fetched.
    """
    model = VideoTokenizer.from_pretrained(tokenizer)
    wishes = asked.of(model.config.space)
    with filled_together(folder) as part:
        tokens = model.encode(source, **wishes, fit=fit, fps=fps)
        tokens.save(part / "tokens.tokens")
        metrics = ReconstructionMetrics(LPIPS.from_pretrained("alex"))
        moments = evenly(tokens.videos[0].frames, MOMENTS)
        with (
            VideoReader(source, fps=fps) as reader,
            in_background(partial(_write, part / "reconstruction.mp4", tokens)) as keep,
            in_background(partial(_write_beside, part / "side_by_side.mp4", tokens)) as keep_beside,
        ):
            pairs = Chosen(compare(model, tokens, (frame for frame, _ in reader), metrics), moments)
            for clip in pairs:
                for original, reconstruction in zip(*clip, strict=True):
                    keep(reconstruction)
                    keep_beside((original, reconstruction))
        scored = Scored.of(tokens, metrics)
        if _can_draw():
            shown = panel(tokens, moments, pairs.chosen, _caption(scored))
            save_png(moments_figure([shown]), part / "picture.png")
        write_text(part / "metrics.json", json.dumps(asdict(scored), indent=2) + "\n")
    return scored


def _can_draw() -> bool:
    """Whether there is what the extra `figures` brings."""
    return all(find_spec(name) for name in ("matplotlib", "PIL"))


def compare(
    model: VideoTokenizer, tokens: Tokens, originals: Iterable[Tensor], metrics: ReconstructionMetrics
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields clips `(n, 3, H, W)` uint8 of a video and of its reconstruction, and measures them on the way.

    Args:
        model: the tokenizer that made the tokens.
        tokens: of one video.
        originals: the video's frames `(3, H, W)` uint8; the part of them that the fit uses comes out.
        metrics: compares what the model saw with what it made of it, without a fit's bars, at the model's resolution.
    """
    record = tokens.videos[0]
    fit = Fit.from_dict(record.fit)
    unfitted = Fit("none", fit.size, fit.size, (0, 0, *fit.size), (0, 0, *fit.size))
    at_model_size = replace(tokens, videos=(replace(record, size=fit.size, fit=unfitted.to_dict()),))
    frames, decoded = iter(originals), model.decode_stream(at_model_size)
    while clip := list(islice(decoded, model.config.clip_frames)):
        original, reconstruction = torch.stack(list(islice(frames, len(clip)))), torch.stack(clip)
        if min(fit.inner[2:]) >= SMALLEST:
            seen = to_bytes(_part(fit.apply(original), fit.inner))
            metrics.update(seen[None], _part(reconstruction, fit.inner)[None])
        yield _part(original, fit.box), fit.undo(reconstruction)


class Chosen:
    """Hands clips on and keeps pairs of frames (original, reconstruction) with some numbers, in order."""

    def __init__(self, clips: Iterable[tuple[Tensor, Tensor]], numbers: Sequence[int]) -> None:
        self._clips, self._numbers = clips, set(numbers)
        self.chosen: list[tuple[Tensor, Tensor]] = []

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        first = 0
        for original, reconstruction in self._clips:
            for number in range(len(original)):
                if first + number in self._numbers:
                    pair = torch.stack([original[number], reconstruction[number]])
                    before, after = resized(pair, min(pair.shape[-2], HIGHEST))
                    self.chosen.append((before, after))
            first += len(original)
            yield original, reconstruction


@contextmanager
def filled_together(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder whose files move into `folder` in the end; on an exception nothing is left of either."""
    if folder.exists() and not folder.is_dir():
        raise FileError(f"cannot write into {folder}: it is no folder")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as part:
            yield Path(part)
            for path in sorted(Path(part).iterdir()):
                path.replace(folder / path.name)
    except BaseException:
        if made:
            shutil.rmtree(made[-1], ignore_errors=True)
        raise


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


def block_edges(tokens: Tokens) -> list[float]:
    """Seconds at which the blocks of a video begin, and its end."""
    record, step = tokens.videos[0], tokens.format.block_frames
    starts = range(0, record.frames, step)
    times = [i / record.fps for i in starts] if record.times is None else record.times[list(starts)].tolist()
    return [*times, record.seconds]


def _write(path: Path, tokens: Tokens, frames: Iterable[Tensor]) -> None:
    record = tokens.videos[0]
    write_video(path, frames, fps=record.fps, times=record.times)


def _write_beside(path: Path, tokens: Tokens, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    captions = ("original", f"{tokens.tokens_per_second():.0f} tokens/s") if _can_draw() else ("", "")
    _write(path, tokens, (side_by_side(pair, captions, height=_height(pair[0])) for pair in pairs))


def panel(tokens: Tokens, moments: Sequence[int], chosen: Sequence[tuple[Tensor, Tensor]], caption: str) -> Panel:
    """A video for `moments_figure`: the frames at some moments, and all of its blocks."""
    record = tokens.videos[0]
    seconds = [i / record.fps for i in moments] if record.times is None else record.times[list(moments)].tolist()
    original, reconstruction = (torch.stack(list(frames)) for frames in zip(*chosen, strict=True))
    lengths = tokens.lengths[tokens.lengths > 0].tolist()
    return Panel(seconds, original, reconstruction, lengths, block_edges(tokens), caption)


def _caption(scored: Scored) -> str:
    caption = f"{scored.tokens} tokens, {scored.tokens_per_second:.0f} a second, {scored.bits_per_pixel:.4f} bits/pixel"
    if scored.psnr is not None:
        caption += f"   PSNR {scored.psnr:.2f} dB, SSIM {scored.ssim:.3f}, LPIPS {scored.lpips:.3f}"
    return caption


def _height(picture: Tensor) -> int:
    """Height at which a picture is shown: small ones larger, large and very wide ones smaller."""
    height, width = picture.shape[-2:]
    return max(1, min(max(height, 240), HIGHEST, 2 * HIGHEST * height // width))


def _part(frames: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    top, left, height, width = box
    return frames[..., top : top + height, left : left + width]
