"""A video beside its reconstruction: scores, videos, a picture and the tokens, for a video of any length."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from evatok.codec.beside import can_draw, write_beside, write_made
from evatok.codec.moments import Moments, block_edges, block_lengths, frame_seconds
from evatok.codec.scored import Scored, measured
from evatok.codec.targets import filled_together
from evatok.evaluation.metrics import ReconstructionMetrics
from evatok.figures.tokens import Panel, moments_figure, save_png
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import EncodedClips, VideoTokenizer
from evatok.tokens.tokens import Tokens
from evatok.utils.background import in_background
from evatok.utils.files import write_json
from evatok.video.fit import Mode

FILES = ("reconstruction.mp4", "side_by_side.mp4", "picture.png", "tokens.tokens", "metrics.json")


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
            in_background(partial(write_made, part / "reconstruction.mp4", clips.fit, clips.fps)) as keep,
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
        if can_draw():
            numbers, chosen = moments.evenly()
            shown_video = panel(tokens, numbers, chosen, _caption(scored), _strategy(request, model))
            save_png(moments_figure(shown_video), part / "picture.png")
        write_json(part / "metrics.json", asdict(scored))
    return scored


def panel(
    tokens: Tokens, moments: Sequence[int], chosen: Sequence[tuple[Tensor, Tensor]], caption: str, strategy: str
) -> Panel:
    """A video for `moments_figure`: the frames at some moments, and all of its blocks, by who chose their lengths."""
    original, reconstruction = (torch.stack(list(frames)) for frames in zip(*chosen, strict=True))
    seconds = frame_seconds(tokens.videos[0], moments)
    return Panel(seconds, original, reconstruction, block_lengths(tokens), block_edges(tokens), caption, strategy)


def _strategy(request: LengthRequest, model: VideoTokenizer) -> str:
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
