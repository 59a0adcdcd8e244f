"""Small things that many tests use."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evatok.nn.transformer import TransformerConfig
from evatok.tokenizer.config import QuantizerConfig, SketchConfig, TokenizerConfig
from evatok.tokenizer.model import VideoTokenizer
from evatok.video.reading import write_video

MINI = TokenizerConfig(
    levels=(4, 8),
    side=32,
    encoder=TransformerConfig(32, 1, 2),
    decoder=TransformerConfig(32, 2, 2),
    quantizer=QuantizerConfig(codebook_size=64),
    default_assignment=(8, 4, 4, 4),
)
SKETCHED = replace(MINI, quantizer=QuantizerConfig(codebook_size=64, unit=False), sketch=SketchConfig())
IN_PASSES = replace(SKETCHED, sketch=SketchConfig(passes=(1, 1), own_codebooks=True))
OVERLAPPING = replace(IN_PASSES, overlap=2)

# Processes that run tests beside each other share the cores, and so do the programs that tests start.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _WORKERS > 1:
    _THREADS = max(1, (os.cpu_count() or 1) // _WORKERS)
    torch.set_num_threads(_THREADS)
    os.environ.setdefault("OMP_NUM_THREADS", str(_THREADS))

_SCHEDULING = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None


@pytest.fixture(autouse=True)
def ordinary_scheduling() -> Iterator[None]:
    """No test leaves the thread, and so what later ones start, at another priority in real time than it had."""
    yield
    assert _SCHEDULING is None or os.sched_getscheduler(0) == _SCHEDULING


def random_tokenizer(config: TokenizerConfig) -> VideoTokenizer:
    """A tokenizer with random weights, the same each time, none of them zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VideoTokenizer(config).eval()
        for weight in model.parameters():
            if not weight.any():
                torch.nn.init.normal_(weight, std=0.1)
        return model


@pytest.fixture(scope="session")
def mini() -> VideoTokenizer:
    """A tokenizer with random weights that is small enough for any test, in the paper's form."""
    return random_tokenizer(MINI)


@pytest.fixture
def video_folder(tmp_path: Path) -> Path:
    """Two short videos of moving noise, 48 high and 64 wide, in a folder of their own; beside it, `held_out.mkv`.

    That one looks like the first, so that a few steps of training improve it.
    """
    folder = tmp_path / "videos"
    folder.mkdir()
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        picture = torch.randint(0, 256, (3, 6, 8), generator=generator, dtype=torch.uint8)
        wide = picture.repeat_interleave(8, 1).repeat_interleave(8, 2)
        video = torch.stack([wide.roll(t, 2) for t in range(24)])
        write_video(folder / f"{seed}.mp4", video, fps=12)
        if seed == 0:
            write_video(tmp_path / "held_out.mkv", video, fps=12)
    return folder
