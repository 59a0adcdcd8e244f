"""How a video file is decoded: what memory its frames take."""

import gc
import os
from pathlib import Path

import pytest
import torch
from av.video.frame import VideoFrame

from evatok.video.file import MOST_PIXELS, threads_for
from evatok.video.reading import read_clip, write_video


def test_large_pictures_are_in_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread holds a picture."""
    sizes = (64 * 64, 1280 * 720, 3840 * 2160, 7680 * 4320, MOST_PIXELS, 2 * MOST_PIXELS)
    for processors, threads in ((64, [1, 16, 8, 2, 1, 1]), (2, [1, 0, 0, 2, 1, 1])):
        monkeypatch.setattr(os, "cpu_count", lambda number=processors: number)
        assert [threads_for(pixels) for pixels in sizes] == threads


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
