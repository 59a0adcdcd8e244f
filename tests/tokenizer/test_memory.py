"""Encoding a long video takes no more memory than a short one."""

from pathlib import Path

import torch

from benchmarks.children import in_child, peak_memory
from evatok.tokenizer.model import VideoTokenizer
from evatok.video.reading import write_video


def grown_memory(model: Path, short: Path, long: Path) -> tuple[int, int]:
    """Bytes by which encoding a long video after a short one raises this process's peak, and frames of the long one."""
    tokenizer = VideoTokenizer.from_pretrained(model)
    tokenizer.encode(short)
    before = peak_memory()
    tokens = tokenizer.encode(long)
    return peak_memory() - before, tokens.videos[0].frames


def test_ten_times_as_long_a_video_takes_the_same_memory(mini: VideoTokenizer, tmp_path: Path) -> None:
    noise = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    paths = [tmp_path / "short.mp4", tmp_path / "long.mp4"]
    for path, frames in zip(paths, (300, 3000), strict=True):
        write_video(path, torch.stack([noise.roll(t, 2) for t in range(frames)]), fps=24)
    mini.save_pretrained(tmp_path / "model")
    # In a process of its own: the peak of this one is that of all tests before.
    grown, frames = in_child(grown_memory, tmp_path / "model", *paths)
    assert frames == 3000
    # The frames that the long video has more take 33 MB as bytes and 130 MB as floats.
    assert grown < 6_000_000
