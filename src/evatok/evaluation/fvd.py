"""FVD, the Fréchet video distance of Unterthiner et al. 2018, on I3D's logits, and what stands beside it.

Features come from tensors, never from files that were encoded again. They are kept, so one set of real ones
serves many tokenizers::

    i3d = I3D.from_pretrained()
    real = torch.cat([fvd_features(i3d, clips) for clips in originals])
    fake = torch.cat([fvd_features(i3d, clips) for clips in reconstructions])
    scores = fvd_scores(real, fake, paired=True)
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from evatok.evaluation.frechet import (
    Interval,
    frechet_distance,
    frechet_infinity,
    frechet_interval,
    kernel_distance,
    kernel_spread,
    real_floor,
)
from evatok.pretrained.i3d import I3D, LOGITS
from evatok.video.fit import to_bytes, to_signed

# I3D sees as many frames at once as this, so that memory does not grow with a batch.
_FRAMES_AT_ONCE = 64
_LARGEST_MEAN = 2.0
# Halves of fewer real clips than this, two on each side, have no distance.
_FEWEST_FOR_A_FLOOR = 4


# Not a frozen dataclass: torchmetrics refuses those.
class FVDScores(NamedTuple):
    """What is known of two sets of clips; lower is better.

    FVD depends on how many clips there are, so the counts belong to it.
    """

    fvd: float
    """At these numbers of clips."""
    fvd_interval: Interval
    """Of 95 %, by bootstrap over clips."""
    fvd_infinity: float
    """Extrapolated to infinitely many clips."""
    fvd_floor: float | None
    """The FVD of real clips against other real clips, `floor_clips` on each side; None for under four real clips.

    What generated clips may hope for. Reconstructions of the same clips may well lie below it.
    """
    kvd: float
    """Unbiased kernel distance."""
    kvd_std: float
    """Standard deviation of the kernel distance over subsets of half the clips, at most 1000."""
    real_clips: int
    fake_clips: int
    floor_clips: int
    """As many as there are fake clips where real ones suffice, else half of the real ones."""
    paired: bool

    @property
    def protocol(self) -> str:
        """What was measured and how, in one line to print beside the numbers."""
        sides = "originals and reconstructions" if self.paired else "real and fake"
        return (
            f"FVD of {self.real_clips} against {self.fake_clips} clips ({sides}); I3D Kinetics-400 logits, uint8 RGB, "
            "224x224 bilinear (no antialiasing, align_corners=False), float32; from tensors"
        )


@torch.no_grad()
def fvd_features(i3d: I3D, video: Tensor) -> Tensor:
    """Return the logits ``(B, 400)`` of clips ``(B, F, 3, H, W)``, uint8 or float, in float32 even under autocast.

    Floats are rounded to uint8 as they would be shown, and clamped to [-1, 1].
    """
    if video.is_floating_point():
        if not video.isfinite().all():
            raise ValueError("the video has pixels that are not finite")
        # A reconstruction may leave the range a little; most of its pixels far outside are another range's.
        if video.numel() and video.abs().mean() > _LARGEST_MEAN:
            raise ValueError(f"float pixels must lie in [-1, 1], got [{video.min():.4g}, {video.max():.4g}]")
        video = to_bytes(video.float())
    if video.dtype != torch.uint8 or video.ndim != 5 or video.shape[2] != 3:
        raise ValueError(
            f"clips must be uint8, or float in [-1, 1], (B, F, 3, H, W), got {video.dtype} {tuple(video.shape)}"
        )
    with torch.autocast(video.device.type, enabled=False):
        at_once = max(1, _FRAMES_AT_ONCE // max(1, video.shape[1]))
        return torch.cat([i3d.logits(to_signed(clips)) for clips in video.split(at_once)])


def fvd_scores(real: Tensor, fake: Tensor, *, paired: bool = False, seed: int = 0) -> FVDScores:
    """Compare features ``(N, 400)`` of real and of fake clips, two or more on each side.

    `paired` says that the n-th of both belong together, as an original and its reconstruction do.
    """
    generator = torch.Generator().manual_seed(seed)
    floor_clips = min(len(fake), len(real) // 2) if len(real) >= _FEWEST_FOR_A_FLOOR else 0
    return FVDScores(
        fvd=frechet_distance(real, fake),
        fvd_interval=frechet_interval(real, fake, generator, paired=paired),
        fvd_infinity=frechet_infinity(real, fake, generator, paired=paired),
        fvd_floor=real_floor(real, floor_clips, generator) if floor_clips else None,
        kvd=kernel_distance(real, fake, paired=paired),
        kvd_std=kernel_spread(real, fake, generator, paired=paired),
        real_clips=len(real),
        fake_clips=len(fake),
        floor_clips=floor_clips,
        paired=paired,
    )


class FVD(Metric):
    """Accumulates clips over batches and processes; :meth:`compute` gives their :class:`FVDScores`.

    The features themselves are kept and gathered, those of the first process first, so many processes give exactly
    what one gives with the clips in that order; in another order only what is drawn at random differs.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    real: list[Tensor]
    fake: list[Tensor]

    def __init__(self, i3d: I3D, *, paired: bool = False, seed: int = 0, **kwargs: Any) -> None:
        """Measure by the given network (its published weights loaded); `paired` and `seed` as :func:`fvd_scores`.

        Further arguments are :class:`torchmetrics.Metric`'s.
        """
        super().__init__(**kwargs)
        self.i3d, self.paired, self.seed = i3d, paired, seed
        for side in ("real", "fake"):
            self.add_state(side, [], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget all clips."""
        super().reset()
        # A process without clips then still has something of the others' shape to be gathered.
        self.real, self.fake = ([torch.empty(0, LOGITS, device=self.device)] for _ in range(2))

    def update(self, clips: Tensor, real: bool) -> None:
        """Add clips to the real or to the fake ones: videos or, where they are known, their features ``(B, 400)``.

        Both as :func:`fvd_features` takes and returns them.
        """
        features = clips if clips.ndim == 2 else fvd_features(self.i3d, clips)
        if features.shape[1] != LOGITS:
            raise ValueError(f"features must be (B, {LOGITS}), got {tuple(features.shape)}")
        (self.real if real else self.fake).append(features.to(self.device, torch.float32))

    def compute(self) -> FVDScores:
        """Compare all that has been added; ``ValueError`` with fewer than two clips on a side."""
        return fvd_scores(dim_zero_cat(self.real), dim_zero_cat(self.fake), paired=self.paired, seed=self.seed)
