"""Frames side by side and sheets."""

import pytest
import torch
from torch import Tensor

from evatok.figures.frames import GAP, reconstruction_sheet, resized, side_by_side
from evatok.figures.text import text_picture


def plain(value: int, *size: int) -> Tensor:
    return torch.full(size, value, dtype=torch.uint8)


def test_pictures_stand_beside_each_other_untouched() -> None:
    left, right = plain(10, 3, 21, 31), plain(200, 3, 21, 31)
    shown = side_by_side([left, right], ["a", "b"])
    assert shown.dtype == torch.uint8 and shown.shape[1] % 2 == shown.shape[2] % 2 == 0
    bar = 16
    assert torch.equal(shown[:, bar : bar + 21, :31], left)
    assert torch.equal(shown[:, bar : bar + 21, 31 + GAP : 62 + GAP], right)


def test_columns_begin_a_new_row() -> None:
    pictures = [plain(value, 3, 20, 30) for value in (10, 20, 30)]
    shown = side_by_side(pictures, ["a", "b", "c"], columns=2)
    second_row = 16 + 20 + GAP + 16
    assert torch.equal(shown[:, second_row : second_row + 20, :30], pictures[2])
    assert (shown[:, second_row : second_row + 20, 30 + GAP :] == 255).all()


def test_caption_is_written_and_stays_inside() -> None:
    caption = text_picture("a much longer caption than fits in its natural size", (16, 120), font_size=14)
    assert caption.shape == (3, 16, 120)
    dark = (caption < 128).any(0)
    assert dark.any() and not dark[:, 0].any() and not dark[:, -1].any()


def test_wrong_numbers_and_sizes() -> None:
    small, other = plain(0, 3, 4, 4), plain(0, 3, 4, 6)
    for pictures, captions in (([], []), ([small], []), ([small, other], ["a", "b"])):
        with pytest.raises(ValueError, match="caption"):
            side_by_side(pictures, captions)


def test_resized_keeps_the_aspect_ratio_and_flat_colours() -> None:
    small = resized(plain(77, 2, 3, 40, 60), 20)
    assert small.shape == (2, 3, 20, 30) and (small == 77).all()


def test_sheet_has_a_row_for_each_label() -> None:
    original, made = plain(50, 3, 3, 16, 24), plain(150, 3, 3, 16, 24)
    sheet = reconstruction_sheet(original, {"8": made}, height=16)
    assert (sheet[:, :16, 16 + GAP : 40 + GAP] == 50).all()
    assert (sheet[:, 16 + GAP : 32 + GAP, 16 + GAP : 40 + GAP] == 150).all()
    assert sheet.shape == (3, 36, 16 + 3 * (24 + GAP))
    with pytest.raises(ValueError, match="pictures of 8"):
        reconstruction_sheet(original, {"8": made[:2]})
