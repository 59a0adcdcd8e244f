"""PSNR, SSIM and LPIPS of reconstructions, under one protocol that is printed with the numbers.

Everything is computed on pixels as they would be shown: tensors rounded to uint8, at the resolution given,
in float32. Reconstructions outside [-1, 1] are clamped, as a file would; originals there are an error.
"""

from collections.abc import Set
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from evatok.pretrained.lpips import LPIPS
from evatok.video.fit import to_bytes, to_signed

# What identical images are given, so that one of them does not make a mean infinite.
HIGHEST_PSNR = 100.0
# Wang et al. 2004: a Gaussian window of 11 pixels, sigma 1.5; K1, K2 = 0.01, 0.03.
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# LPIPS sees as many frames at once as have about this many pixels, so that memory does not grow with a clip.
_PIXELS_AT_ONCE = 2**20


class ClipScores(NamedTuple):
    """Scores of each clip, float32 ``(B,)``: PSNR in dB, SSIM and LPIPS as means over the clip's frames."""

    psnr: Tensor
    ssim: Tensor
    lpips: Tensor


class Means:
    """Means over clips of named values, which are added in batches: the same however the clips are batched."""

    def __init__(self) -> None:
        self._batches: dict[str, list[Tensor]] = {}

    def add(self, **values: Tensor) -> None:
        """Add values of a batch of clips, ``(B, ...)`` each; ``ValueError`` if one is not finite."""
        for name, batch in values.items():
            if not batch.isfinite().all():
                raise ValueError(f"{name} is not finite: {batch.tolist()}")
            self._batches.setdefault(name, []).append(batch.cpu())

    def extend(self, other: "Means") -> None:
        """Add all that has been added to another."""
        for name, batches in other._batches.items():
            self._batches.setdefault(name, []).extend(batches)

    def compute(self) -> dict[str, Tensor]:
        """Return the means over clips by name, float64 ``(...)``; nothing if there was no clip."""
        return {name: torch.cat(batches).double().mean(0) for name, batches in self._batches.items()}


def clip_psnr(original: Tensor, reconstruction: Tensor) -> Tensor:
    """Return the PSNR ``(...)`` in dB of each clip of ``(..., F, 3, H, W)``, from its mean squared error.

    Pixels are uint8 or float in [-1, 1]. Identical clips have 100 dB, which is also the most there is.
    """
    x, y = _pixels(original, reconstruction)
    error = (x.float() - y.float()).square().flatten(-4).mean(-1)
    return (20 * torch.tensor(255.0).log10() - 10 * error.log10()).clamp(max=HIGHEST_PSNR)


def ssim(original: Tensor, reconstruction: Tensor) -> Tensor:
    """Return the SSIM ``(...)`` of each image of ``(..., 3, H, W)``, uint8 or float in [-1, 1].

    As Wang et al. 2004 define it, over windows that lie wholly inside the image; the mean over the three
    channels. Raises ``ValueError`` for sides under 11 pixels.
    """
    x, y = (pixels.float() for pixels in _pixels(original, reconstruction))
    height, width = x.shape[-2:]
    if min(height, width) < _WINDOW:
        raise ValueError(f"SSIM needs sides of at least {_WINDOW} pixels, got {height}x{width}")
    planes = torch.stack([x, y, x * x + y * y, x * y])
    mean_x, mean_y, mean_squares, mean_product = _blur(planes)
    products, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    similarity = (2 * products + _C1) * (2 * (mean_product - products) + _C2)
    similarity = similarity / ((squares + _C1) * (mean_squares - squares + _C2))
    return similarity.mean((-3, -2, -1))


@torch.no_grad()
def clip_scores(original: Tensor, reconstruction: Tensor, lpips: LPIPS) -> ClipScores:
    """Score each clip of ``(B, F, 3, H, W)``, uint8 or float in [-1, 1], in float32 even under autocast.

    Raises ``ValueError`` when the shapes differ or the original leaves its range.
    """
    if original.ndim != 5:
        raise ValueError(f"clips must be (B, F, 3, H, W), got {tuple(original.shape)}")
    with torch.autocast(original.device.type, enabled=False):
        distances = _lpips(*_pixels(original, reconstruction), lpips)
        return ClipScores(clip_psnr(original, reconstruction), ssim(original, reconstruction).mean(1), distances)


class ReconstructionMetrics:
    """Means over clips of PSNR, SSIM and LPIPS, accumulated over batches, and the sizes of the clips.

    The same clips give the same means however they are batched.
    """

    def __init__(self, lpips: LPIPS) -> None:
        """Measure LPIPS by the given network (its published weights loaded)."""
        self.lpips = lpips
        self.resolutions: set[tuple[int, int]] = set()
        self._means = Means()

    def update(self, original: Tensor, reconstruction: Tensor) -> None:
        """Add clips ``(B, F, 3, H, W)``, uint8 or float in [-1, 1]."""
        self._means.add(**clip_scores(original, reconstruction, self.lpips)._asdict())
        self.resolutions.add((original.shape[-2], original.shape[-1]))

    def compute(self) -> dict[str, float]:
        """Return the means over clips by name; nothing if there was no clip."""
        return {name: mean.item() for name, mean in self._means.compute().items()}


def protocol_of(lpips: LPIPS, resolutions: Set[tuple[int, int]]) -> str:
    """What was measured and how, in one line: clips of these heights and widths, LPIPS by this network."""
    sizes = ", ".join(f"{h}x{w}" for h, w in sorted(resolutions))
    return (
        f"uint8 RGB at {sizes}; PSNR of a clip's mean squared error (at most {HIGHEST_PSNR:.0f} dB), "
        f"SSIM (Gaussian 11, sigma 1.5, RGB, per frame), "
        f"LPIPS v0.1 {lpips.network} ([-1, 1], float32, per frame); means over clips"
    )


def _pixels(original: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
    """Both as uint8."""
    if original.shape != reconstruction.shape or original.ndim < 3 or original.shape[-3] != 3:
        shapes = f"{tuple(original.shape)} and {tuple(reconstruction.shape)}"
        raise ValueError(f"original and reconstruction must both be (..., 3, H, W), got {shapes}")
    if original.is_floating_point() and not (original.abs() <= 1 + 1e-3).all():
        low, high = original.min().item(), original.max().item()
        raise ValueError(f"float pixels of the original must lie in [-1, 1], got [{low:.4g}, {high:.4g}]")
    if reconstruction.is_floating_point() and not reconstruction.isfinite().all():
        raise ValueError("the reconstruction has pixels that are not finite")
    return _bytes(original), _bytes(reconstruction)


def _bytes(x: Tensor) -> Tensor:
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise ValueError(f"pixels must be uint8, or float in [-1, 1], got {x.dtype}")
    return x if x.dtype == torch.uint8 else to_bytes(x.float())


def _blur(x: Tensor) -> Tensor:
    """Weighted means over the windows that lie inside ``(..., H, W)``."""
    steps = torch.arange(_WINDOW, device=x.device, dtype=x.dtype) - _WINDOW // 2
    window = torch.exp(-steps.square() / (2 * _SIGMA**2))
    window = window / window.sum()
    flat = x.reshape(-1, 1, *x.shape[-2:])
    flat = F.conv2d(F.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return flat.view(*x.shape[:-2], *flat.shape[-2:])


def _lpips(x: Tensor, y: Tensor, lpips: LPIPS) -> Tensor:
    clips, frames, _, height, width = x.shape
    at_once = max(1, _PIXELS_AT_ONCE // (height * width))
    pairs = zip(x.flatten(0, 1).split(at_once), y.flatten(0, 1).split(at_once), strict=True)
    distances = torch.cat([lpips(to_signed(a), to_signed(b)) for a, b in pairs])
    return distances.view(clips, frames).mean(1)
