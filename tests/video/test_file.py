"""How a video file is decoded: what memory its frames take."""

import gc
from pathlib import Path

import torch
from av.video.frame import VideoFrame

from evatok.video.reading import read_clip, write_video


def test_a_large_frame_does_not_outlive_its_file(tmp_path: Path) -> None:
    """Of a frame whose side data were looked at only a garbage collection gets rid."""
    write_video(tmp_path / "large.mkv", torch.zeros(1, 3, 2048, 2056, dtype=torch.uint8), fps=25)
    gc.collect()
    gc.disable()
    try:
        read_clip(tmp_path / "large.mkv", 0, 1)
        assert not any(type(each) is VideoFrame for each in gc.get_objects())
    finally:
        gc.enable()
