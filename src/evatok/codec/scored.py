"""What tokens cost, and how well they reconstruct their video."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from evatok.codec.files import bits_per_pixel
from evatok.evaluation.metrics import ReconstructionMetrics, protocol_of
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.clips import ClipReader
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import EncodedClips, VideoTokenizer
from evatok.tokens.tokens import Tokens
from evatok.utils.tables import table
from evatok.video.fit import Fit, crop, to_bytes

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
        means, protocol = metrics.compute(), "the pictures are too small for SSIM and LPIPS"
        if means:
            how = protocol_of(metrics.lpips, metrics.resolutions)
            protocol = f"{how}; at the tokenizer's resolution, before any file is written"
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


def measured(model: VideoTokenizer, encoded: EncodedClips, fit: Fit, metrics: ReconstructionMetrics) -> Tensor:
    """Decodes clips and measures what the model made of what it saw, without a fit's bars, at the model's resolution.

    Returns:
        The reconstruction `(n, F, 3, h, w)` uint8 at the size that the model sees.
    """
    made = to_bytes(model.decode_clips(encoded.ids, encoded.lengths, fit.size)[:, : encoded.clips.shape[1]])
    if min(fit.inner[2:]) >= SMALLEST:
        metrics.update(crop(to_bytes(encoded.clips), fit.inner), crop(made, fit.inner))
    return made


class FittedClips(ClipReader, Protocol):
    """Clips that say how they were brought to the model's size."""

    @property
    def fit(self) -> Fit:
        """Of all of them."""


class Reconstruction(NamedTuple):
    """A video at some lengths: its tokens, what they cost and bring, the frames `(F, 3, h, w)` uint8 made of them."""

    tokens: Tokens
    scored: Scored
    frames: Tensor


def reconstructed(model: VideoTokenizer, clips: FittedClips, request: LengthRequest, lpips: LPIPS) -> Reconstruction:
    """A video at the lengths that are asked for, its frames as the model made them."""
    metrics, frames = ReconstructionMetrics(lpips), []

    def watch(encoded: EncodedClips) -> None:
        frames.append(measured(model, encoded, clips.fit, metrics).flatten(0, 1))

    tokens = model.encode_clips(clips, request, watch)
    return Reconstruction(tokens, Scored.of(tokens, metrics), torch.cat(frames))


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
