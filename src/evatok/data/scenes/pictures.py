"""Picture files as tensors: photographs, and cut-outs with alpha."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from evatok.video.reading import VideoError

CUTOUT_SIDE = 160  # longer side to which larger cut-outs are shrunk


def shrunk(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Sides of the same aspect ratio, `factor` times as long; the same ones if that is not less."""
    factor = min(factor, 1.0)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def read_picture(path: Path, short: int) -> Tensor:
    """A picture, turned as its metadata say, whose shorter side is at most `short`: uint8 RGB (3, H, W).

    Raises:
        VideoError: it cannot be read.
    """

    def decode() -> Image.Image:
        with Image.open(path) as file:
            file.draft("RGB", (short * file.width // min(file.size), short * file.height // min(file.size)))
            image = _eight_bits(ImageOps.exif_transpose(file)).convert("RGB")
        return image.resize(shrunk(image.size, short / min(image.size)), Image.Resampling.LANCZOS)

    return _pixels(_decoded(path, decode))


def read_cutout(path: Path) -> Tensor:
    """A cut-out without its transparent rim: uint8 (4, H, W), colours multiplied by alpha, then alpha.

    Raises:
        VideoError: it cannot be read, or nothing of it is transparent, or all.
    """

    def decode() -> Image.Image:
        with Image.open(path) as file:
            return _eight_bits(ImageOps.exif_transpose(file)).convert("RGBA")

    image = _decoded(path, decode)
    alpha = image.getchannel("A")
    least, most = alpha.getextrema()
    if least == 255 or most == 0:
        reason = "nothing of it is transparent" if least == 255 else "all of it is transparent"
        raise VideoError(f"cannot use cut-out '{path}': {reason}", reason)
    image = image.crop(alpha.getbbox())
    size = shrunk(image.size, CUTOUT_SIDE / max(image.size))
    # "RGBa" is multiplied by alpha: colours of transparent pixels would otherwise come out at the edges.
    return _pixels(image.convert("RGBa").resize(size, Image.Resampling.BOX))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as one of 8: Pillow would cut it off at 255."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _decoded(path: Path, decode: Callable[[], Image.Image]) -> Image.Image:
    try:
        return decode()
    except Exception as error:  # broken files make Pillow's decoders raise nearly anything
        reason = str(error) or type(error).__name__
        raise VideoError(f"cannot read picture '{path}': {reason}", reason) from error


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
