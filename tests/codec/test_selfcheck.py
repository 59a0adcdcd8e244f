"""The self-check: its mark separates a clip that was learned from one that was not."""

from pathlib import Path

import pytest
import torch

from evatok.codec.selfcheck import PASS_MARK, Learned, selfcheck, setup
from evatok.video.reading import VideoError, write_video


def test_too_little_training_does_not_pass() -> None:
    learned = selfcheck(steps=4)
    assert learned.steps == 4 and learned.lpips > 2 * PASS_MARK and not learned.passed
    assert "FAILED" in str(learned)


def test_the_mark_decides() -> None:
    assert Learned(1, 20.0, PASS_MARK).passed and not Learned(1, 20.0, PASS_MARK + 0.01).passed
    assert "passed" in str(Learned(1, 20.0, PASS_MARK))


def test_a_video_without_16_frames_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "short.mp4", torch.zeros(9, 3, 64, 64, dtype=torch.uint8), fps=8)
    with pytest.raises(VideoError, match="ends after 9 frames"):
        selfcheck(tmp_path / "short.mp4")


def test_setup_names_what_a_report_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("LD_PRELOAD", "/home/somebody/libtcmalloc.so.4:/usr/lib/libgomp.so.1")
    facts = setup()
    assert "LD_PRELOAD=libtcmalloc.so.4:libgomp.so.1" in facts["settings"]
    assert "MALLOC_ARENA_MAX=1" in facts["settings"] and "OMP_WAIT_POLICY=passive" in facts["settings"]
    assert {"evatok", "torch", "PyAV", "decoders", "device", "threads", "precision"} <= facts.keys()
    assert facts["torch"] == torch.__version__ and "h264" in facts["decoders"]
