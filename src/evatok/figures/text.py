"""Lines of text as pictures, for captions and labels."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from evatok.figures import style

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

# Of every picture here.
INK, PAPER = (tuple(bytes.fromhex(color[1:])) for color in (style.INK, style.PAPER))


@lru_cache(maxsize=64)
def text_picture(text: str, size: tuple[int, int], *, font_size: int) -> Tensor:
    """A line of text in the middle of a picture: uint8 `(3, height, width)`, dark on white.

    The letters are made smaller where the line would not fit into `size` (height, width). Only letters need the
    packages of the extra `figures`.
    """
    height, width = size
    if not text:
        return torch.tensor(PAPER, dtype=torch.uint8)[:, None, None].repeat(1, height, width)
    from PIL import Image, ImageDraw

    font = _font(font_size)
    while font.getlength(text) > 0.94 * width and font.size > 6:
        font = _font(int(font.size) - 1)
    picture = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(picture).text((width / 2, height / 2), text, INK, font, anchor="mm")
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).contiguous()


@lru_cache(maxsize=64)
def _font(size: int) -> "FreeTypeFont":
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)
