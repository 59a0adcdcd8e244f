"""Lines of text as pictures, for captions and labels."""

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# Of every picture here.
INK, PAPER = (33, 37, 41), (255, 255, 255)


@lru_cache(maxsize=64)
def text_picture(text: str, size: tuple[int, int], *, font_size: int) -> Tensor:
    """A line of text in the middle of a picture: uint8 `(3, height, width)`, dark on white.

    The letters are made smaller where the line would not fit into `size` (height, width).
    """
    height, width = size
    font = _font(font_size)
    while font.getlength(text) > 0.94 * width and font.size > 6:
        font = _font(int(font.size) - 1)
    picture = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(picture).text((width / 2, height / 2), text, INK, font, anchor="mm")
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).contiguous()


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)
