"""Encoding a long video takes no more memory than a short one."""

import subprocess
import sys
from pathlib import Path

import torch

from evatok.data.video import write_video
from evatok.tokenizer.model import VideoTokenizer

# In a process of its own: the peak of this one is that of all tests before.
CODE = """
import resource, sys
from evatok import VideoTokenizer
model, short, long = sys.argv[1:]
tokenizer = VideoTokenizer.from_pretrained(model)
peaks = []
for video in (short, long):
    tokens = tokenizer.encode(video)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0], tokens.videos[0].frames)
"""


def test_ten_times_as_long_a_video_takes_the_same_memory(mini: VideoTokenizer, tmp_path: Path) -> None:
    noise = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    paths = [tmp_path / "short.mp4", tmp_path / "long.mp4"]
    for path, frames in zip(paths, (300, 3000), strict=True):
        write_video(path, torch.stack([noise.roll(t, 2) for t in range(frames)]), fps=24)
    mini.save_pretrained(tmp_path / "model")
    arguments = [sys.executable, "-c", CODE, *map(str, (tmp_path / "model", *paths))]
    grown, frames = map(int, subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split())
    assert frames == 3000
    # In KiB. The frames that the long video has more take 33 MB as bytes and 130 MB as floats.
    assert grown < 6_000
