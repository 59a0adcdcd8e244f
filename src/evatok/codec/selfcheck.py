"""Whether a setup can train at all: what it consists of, and one clip learned by heart within minutes."""

import os
import platform
import re
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import accelerate
import av
import torch
from torch import Tensor

from evatok.data.clips import ClipBatch, ClipSamplerConfig, centre_box, crop_and_resize
from evatok.data.folders import FileConfig
from evatok.evaluation.reconstruction import evaluate_reconstruction
from evatok.losses.reconstruction import ReconstructionLossConfig
from evatok.pretrained.lpips import LPIPS
from evatok.stages.codebook import CodebookConfig
from evatok.stages.data import DataConfig
from evatok.stages.proxy import ProxyConfig, train_proxy
from evatok.tokenizer.config import PRESETS, QuantizerConfig, SketchConfig
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.loop import LoopConfig
from evatok.training.optimizers import OptimizerConfig
from evatok.training.precision import native_precision
from evatok.training.versions import python, versions
from evatok.video.reading import read_clip, write_video

STEPS = 240
# `tiny`, but with one pass and one small codebook: with its own, fitted to the clip, LPIPS is 0.11 after four steps.
MODEL = replace(PRESETS["tiny"], quantizer=QuantizerConfig(unit=False), sketch=SketchConfig())
# LPIPS; before the first step the clip is at about 0.2.
PASS_MARK = 0.06
# Of threads (OpenMP and its makes) and of memory (the C library, torch).
_SETTINGS = re.compile(r"(OMP|GOMP|KMP|MKL|MALLOC|THP)_|GLIBC_TUNABLES$|LD_PRELOAD$")
_CODECS = ("h264", "hevc", "vp9", "av1", "mpeg4", "ffv1")


@dataclass(frozen=True)
class Learned:
    """How well the clip has been learned, at 64 tokens a block.

    Args:
        steps: of training.
        psnr: of the reconstruction, in dB.
        lpips: of the same, by AlexNet.
    """

    steps: int
    psnr: float
    lpips: float

    @property
    def passed(self) -> bool:
        """Whether that is enough."""
        return self.lpips <= PASS_MARK

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED: this setup does not train as it should"
        measured = f"LPIPS {self.lpips:.3f} (to pass: at most {PASS_MARK}), PSNR {self.psnr:.1f} dB"
        return f"one clip after {self.steps} steps: {measured}: {verdict}"


def selfcheck(video: Path | None = None, steps: int = STEPS) -> Learned:
    """Trains a tokenizer of the size of `tiny` on one clip of 16 frames until it knows it by heart.

    Args:
        video: whose first 16 frames are the clip, its largest centre square as 64×64; None: a made-up clip.
        steps: of training; the pass mark is for the default.

    Raises:
        VideoError: the video has fewer frames, or cannot be read.
        NotFinite: a loss or a gradient is not finite.
        PackageError: the weights of LPIPS are not there and cannot be fetched.
    """
    with TemporaryDirectory(prefix="evatok-selfcheck-") as folder:
        file = Path(folder) / "clip.mp4"
        # Through a file, as videos come: the check covers writing and reading too.
        write_video(file, _made_up() if video is None else _centre_square(video), fps=16)
        tokenizer = VideoTokenizer.from_pretrained(train_proxy(_config(file, Path(folder) / "run", steps)))
        clip = ClipBatch(read_clip(file, 0, 16)[None], torch.tensor([-1]), ["clip"])
    lpips = LPIPS.from_pretrained("alex")
    result = evaluate_reconstruction(tokenizer, {"clip": clip}, lpips, [(64,) * 4])
    [scores] = result.sources[0].scores
    return Learned(steps, scores.psnr, scores.lpips)


def setup() -> dict[str, str]:
    """Versions, devices, threads and what is set about them, precision and decoders of this machine."""
    ffmpeg = ".".join(map(str, av.library_versions["libavcodec"]))
    return {
        **versions(),
        "python": python(),
        "accelerate": accelerate.__version__,
        "PyAV": f"{av.__version__}, libavcodec {ffmpeg}",
        "decoders": ", ".join(name for name in _CODECS if _decodes(name)),
        "device": _device(),
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} CPUs",
        "settings": _settings() or "none; threads and memory are as torch and the C library have them",
        "precision": native_precision(),
    }


def _device() -> str:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return f"{len(names)} × {names[0]}, CUDA {torch.version.cuda}"
    return f"{platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}"


def _settings() -> str:
    """Environment variables that say how threads wait and how memory is allocated; of files the names alone."""
    known = {name: value for name, value in sorted(os.environ.items()) if _SETTINGS.match(name)}
    return " ".join(f"{name}={re.sub('[^ :]*/', '', value)}" for name, value in known.items())


def _decodes(codec: str) -> bool:
    try:
        return av.Codec(codec, "r").is_decoder
    except av.codec.codec.UnknownCodecError:
        return False


def _config(file: Path, folder: Path, steps: int) -> ProxyConfig:
    always_the_same = ClipSamplerConfig(
        sizes=[(64, 64)], size_weights=[1.0], scale=(1.0, 1.0), frame_strides=[1], stride_weights=[1.0], mirror=0.0
    )
    return ProxyConfig(
        folder=str(folder),
        data=DataConfig(train=[FileConfig(str(file))], clips=always_the_same, group=2),
        model=MODEL,
        loss=ReconstructionLossConfig(lpips_net="alex", perceptual_frames=8),
        codebook=CodebookConfig(warmup=0, window=20, groups=32),
        optimizer=OptimizerConfig(kind="muon", lr=1e-3, warmup=10),
        ema_decay=0.9,
        loop=LoopConfig(steps=steps, tracker="none", checkpoint_every=steps),
    )


def _made_up() -> Tensor:
    """A textured ground that drifts, with a disc that moves over it: 16 frames of 64×64, uint8."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 12, 12, generator=generator)
    ground = torch.nn.functional.interpolate(coarse, (96, 96), mode="bicubic", align_corners=False)[0].clamp(0, 1)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    frames = []
    for t in range(16):
        disc = ((x - 10 - 2.5 * t) ** 2 + (y - 40 + t) ** 2 < 81).float()
        shade = torch.tensor([0.9, 0.3, 0.1])[:, None, None]
        frames.append(ground[:, t : t + 64, 2 * t : 2 * t + 64] * (1 - disc) + shade * disc)
    return (torch.stack(frames) * 255).round().to(torch.uint8)


def _centre_square(video: Path) -> Tensor:
    frames = read_clip(video, 0, 16)
    return crop_and_resize(frames, centre_box((frames.shape[-2], frames.shape[-1]), (64, 64)), (64, 64))
