"""Frames side by side with captions, and sheets of reconstructions: uint8 tensors, ready for a video or a logger."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from evatok.figures.text import text_picture

GAP = 4


def side_by_side(
    pictures: Sequence[Tensor], captions: Sequence[str], *, height: int | None = None, columns: int | None = None
) -> Tensor:
    """Pictures in a row, or in several, each under its caption.

    Args:
        pictures: uint8 `(3, H, W)`, all of one size.
        captions: one for each.
        height: to which the pictures are resized; None leaves them as they are.
        columns: pictures in a row; None puts all into one.

    Returns:
        uint8 `(3, height, width)`, both even as video wants them, white where there is nothing.

    Raises:
        ValueError: for no pictures, different sizes, or another number of captions.
    """
    if not pictures or len(captions) != len(pictures) or len({picture.shape for picture in pictures}) > 1:
        shapes = [tuple(picture.shape) for picture in pictures]
        raise ValueError(f"pictures must have one size and a caption each, got {shapes} and {len(captions)} captions")
    shown = [resized(picture, height) for picture in pictures]
    rows, wide = shown[0].shape[-2:]
    bar = max(16, round(0.11 * rows))
    texts = [text_picture(caption, (bar, wide), font_size=round(0.62 * bar)) for caption in captions]
    # Joined pixel by pixel, as FFmpeg's pictures lie.
    pairs = zip(texts, shown, strict=True)
    cells = [torch.cat([part.permute(1, 2, 0) for part in pair]).permute(2, 0, 1) for pair in pairs]
    return grid(cells, columns or len(cells))


def reconstruction_sheet(original: Tensor, reconstructions: Mapping[str, Tensor], *, height: int = 96) -> Tensor:
    """A row of original pictures, and below it a row for each kind of reconstruction, with labels on the left.

    Args:
        original: uint8 `(n, 3, H, W)`.
        reconstructions: the same pictures reconstructed, uint8 `(n, 3, H, W)`, by label.
        height: of each picture in the sheet.

    Returns:
        uint8 `(3, height, width)`.

    Raises:
        ValueError: if a reconstruction has another shape than the original.
    """
    rows = {"original": original, **reconstructions}
    for label, frames in rows.items():
        if frames.shape != original.shape:
            shapes = f"{tuple(frames.shape)}, not {tuple(original.shape)}"
            raise ValueError(f"pictures of {label} must have the original's shape, got {shapes}")
    cells = []
    for label, frames in rows.items():
        cells += [text_picture(label, (height, height), font_size=height // 7), *resized(frames, height)]
    return grid(cells, 1 + len(original))


def resized(frames: Tensor, height: int | None) -> Tensor:
    """Pictures uint8 `(..., 3, H, W)` resized to a height, aspect ratio kept."""
    if height is None or height == frames.shape[-2]:
        return frames
    width = max(1, round(frames.shape[-1] * height / frames.shape[-2]))
    flat = frames.reshape(-1, *frames.shape[-3:]).float()
    scaled = F.interpolate(flat, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return scaled.round().clamp(0, 255).byte().view(*frames.shape[:-2], height, width)


def grid(cells: Sequence[Tensor], columns: int) -> Tensor:
    """Pictures uint8 `(3, h, w)`, as high as their row's highest and as wide as their column's widest, on white."""
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    widths = [max(row[i].shape[2] for row in rows if i < len(row)) for i in range(len(rows[0]))]
    heights = [max(cell.shape[1] for cell in row) for row in rows]
    whole = sum(heights) + GAP * (len(heights) - 1), sum(widths) + GAP * (len(widths) - 1)
    # A pixel's colours lie one after the other, as FFmpeg takes them.
    pixels = torch.full((whole[0] + whole[0] % 2, whole[1] + whole[1] % 2, 3), 255, dtype=torch.uint8)
    sheet = pixels.permute(2, 0, 1)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for cell, width in zip(row, widths, strict=False):
            sheet[:, top : top + cell.shape[1], left : left + cell.shape[2]] = cell
            left += width + GAP
        top += height + GAP
    return sheet
