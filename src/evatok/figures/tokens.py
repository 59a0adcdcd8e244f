"""Figures of reconstructions with token bars: how many tokens each block of a video has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from evatok.figures.style import (
    ACCENT,
    INK,
    LABEL,
    NUMBER,
    PAPER,
    QUIET,
    TEXT,
    dress,
    look_of,
    new_figure,
)
from evatok.utils.files import replacing

# Imported only where something is drawn: encoding and decoding do without it.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More bars than this are drawn as one outline, and without numbers.
FEW_BARS = 48


@dataclass(frozen=True)
class Column:
    """A column of `lengths_figure`.

    Args:
        title: above it.
        frames: pictures uint8 `(n, 3, H, W)`.
        blocks: tokens of a clip's blocks.
        notes: lines below.
        strategy: that chose the lengths, whose colour the bars have; empty where there is but one.
    """

    title: str
    frames: Tensor
    blocks: Sequence[int]
    notes: Sequence[str]
    strategy: str = ""


def lengths_figure(moments: Sequence[str], columns: Sequence[Column], *, width: float = 9.0) -> "Figure":
    """The same moments of a video at several lengths, a column each, with token bars on one scale below.

    Args:
        moments: labels of the rows.
        columns: one without `blocks` (the original) has no bars.
        width: in inches; the height follows from the pictures.
    """
    margin, gap, title, bars, line = 0.32, 0.05, 0.26, 0.46, 0.165
    cell = (width - margin - gap * len(columns)) / len(columns)
    tall = cell * columns[0].frames.shape[-2] / columns[0].frames.shape[-1]
    tops = [title + row * (tall + gap) for row in range(len(moments))]
    below = title + len(moments) * (tall + gap) + 0.16
    notes = below + bars + 0.1
    figure = new_figure(width, notes + line * max(len(column.notes) for column in columns))
    most = max(max(column.blocks, default=1) for column in columns)
    for number, column in enumerate(columns):
        left = margin + number * (cell + gap)
        _write(figure, left + cell / 2, 0.55 * title, column.title, size=TEXT, weight="bold")
        for top, picture in zip(tops, column.frames, strict=True):
            _show(_axes(figure, left, top, cell, tall), picture)
        if column.blocks:
            _block_bars(_axes(figure, left, below, cell, bars), column.blocks, most, _color(column.strategy))
        else:
            _write(figure, left + cell / 2, below + bars / 2, "tokens of each\nblock of a clip", color=QUIET)
        for line_number, note in enumerate(column.notes):
            _write(figure, left + cell / 2, notes + line * line_number, note)
    for top, moment in zip(tops, moments, strict=True):
        _write(figure, margin / 2, top + tall / 2, moment, rotation=90, color=QUIET)
    return figure


@dataclass(frozen=True)
class Panel:
    """What `moments_figure` shows of a video.

    Args:
        seconds: when the pictures are shown; they are marked below the bars.
        original: uint8 `(n, 3, H, W)`.
        reconstruction: uint8 `(n, 3, H, W)`.
        lengths: tokens of each block.
        edges: seconds at which the blocks begin, and the end of the last one.
        caption: a line above.
        strategy: that chose the lengths, whose colour the bars have; empty where there is but one.
    """

    seconds: Sequence[float]
    original: Tensor
    reconstruction: Tensor
    lengths: Sequence[int]
    edges: Sequence[float]
    caption: str
    strategy: str = ""


def moments_figure(panel: Panel) -> "Figure":
    """Moments of a video, each original above its reconstruction, and the tokens of every block over time."""
    width, margin, right, gap, title, bars, foot = 9.0, 0.6, 0.08, 0.05, 0.3, 0.8, 0.42
    own, count = width - margin - right, len(panel.original)
    cell = (own - gap * (count - 1)) / count
    tall = cell * panel.original.shape[-2] / panel.original.shape[-1]
    below = title + 2 * (tall + gap) + 0.12
    figure = new_figure(width, below + bars + foot)
    _write(figure, margin, 0.5 * title, panel.caption, ha="left", size=TEXT)
    for row, (label, frames) in enumerate((("original", panel.original), ("decoded", panel.reconstruction))):
        top = title + row * (tall + gap)
        for number, picture in enumerate(frames):
            _show(_axes(figure, margin + number * (cell + gap), top, cell, tall), picture)
        _write(figure, 0.3 * margin, top + tall / 2, label, rotation=90, color=QUIET)
    axes = _axes(figure, margin, below, own, bars)
    token_bars(axes, panel.lengths, panel.edges, max(panel.lengths), panel.strategy)
    axes.plot(panel.seconds, [0] * len(panel.seconds), "^", color=INK, markersize=4, clip_on=False, zorder=3)
    return figure


@dataclass(frozen=True)
class Choice:
    """A video at lengths that a strategy chose.

    Args:
        strategy: that chose them, whose colour the bars have.
        caption: a line above.
        frames: pictures uint8 `(n, 3, H, W)`.
        lengths: tokens of each block.
    """

    strategy: str
    caption: str
    frames: Tensor
    lengths: Sequence[int]


@dataclass(frozen=True)
class Chosen:
    """A column of `choices_figure`.

    Args:
        title: of the video.
        original: moments of it, uint8 `(n, 3, H, W)`.
        edges: seconds at which its blocks begin, and the end of the last one.
        choices: the same number in every column, and in the same order.
    """

    title: str
    original: Tensor
    edges: Sequence[float]
    choices: Sequence[Choice]


def choices_figure(columns: Sequence[Chosen], *, width: float = 9.0) -> "Figure":
    """Videos in columns; below moments of each what came of several choices of lengths, with token bars on one scale.

    Args:
        columns: the videos, whose pictures have one shape.
        width: in inches; the height follows from the pictures.
    """
    from matplotlib.ticker import MultipleLocator

    original = columns[0].original
    edge, between, gap, line, bars, foot = 0.5, 0.28, 0.03, 0.24, 0.5, 0.36
    own = (width - edge - between * (len(columns) - 1) - 0.12) / len(columns)
    cell = (own - gap * (len(original) - 1)) / len(original)
    tall = cell * original.shape[-2] / original.shape[-1]
    part = line + tall + 0.06 + bars + foot
    figure = new_figure(width, line + tall + 0.08 + part * len(columns[0].choices))
    most = max(max(choice.lengths) for column in columns for choice in column.choices)

    def row(left: float, top: float, text: str, frames: Tensor) -> float:
        _write(figure, left, top + 0.5 * line, text, ha="left")
        for number, picture in enumerate(frames):
            _show(_axes(figure, left + number * (cell + gap), top + line, cell, tall), picture)
        return top + line + tall

    for number, column in enumerate(columns):
        left = edge + number * (own + between)
        top = row(left, 0, column.title, column.original) + 0.08
        for choice in column.choices:
            axes = _axes(figure, left, row(left, top, choice.caption, choice.frames) + 0.06, own, bars)
            token_bars(axes, choice.lengths, column.edges, most, choice.strategy)
            axes.xaxis.set_major_locator(MultipleLocator(1))
            if number:
                axes.set_ylabel("")
            top += part
    return figure


def token_bars(axes: "Axes", lengths: Sequence[int], edges: Sequence[float], most: int, strategy: str = "") -> None:
    """Draws the tokens of each block over the time that the block takes: `edges` are its ends in seconds.

    The axis holds bars of up to `most` tokens; they have the colour of the strategy that chose them.
    """
    axes.stairs(lengths, edges, fill=True, color=_color(strategy))
    if len(lengths) <= FEW_BARS:
        axes.vlines(edges[1:-1], 0, most, color=PAPER, linewidth=1)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.15 * most)
    dress(axes, x="seconds", y="tokens a block")


def save_png(figure: "Figure", path: Path) -> None:
    """Writes a figure to a PNG file, which appears whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))


def _axes(figure: "Figure", left: float, top: float, wide: float, tall: float) -> "Axes":
    """Axes of a size at a place of a figure, in inches from its left and its top."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, 1 - (top + tall) / height, wide / width, tall / height))


def _write(figure: "Figure", left: float, top: float, text: str, **options: Any) -> None:
    """Writes text around a place, in inches likewise."""
    width, height = figure.get_size_inches()
    # Names of files and of classes are in it, and "$" may well be in those.
    look: dict[str, Any] = {"ha": "center", "va": "center", "size": LABEL, "color": INK, "parse_math": False}
    figure.text(left / width, 1 - top / height, text, **look | options)


def _color(strategy: str) -> str:
    return look_of(strategy).color if strategy else ACCENT


def _block_bars(axes: "Axes", blocks: Sequence[int], most: int, color: str) -> None:
    bars = axes.bar(range(len(blocks)), blocks, width=0.86, color=color)
    axes.bar_label(bars, size=NUMBER - 1, color=QUIET, padding=1)
    axes.set_xlim(-0.6, len(blocks) - 0.4)
    axes.set_ylim(0, most)
    axes.set_axis_off()


def _show(axes: "Axes", picture: Tensor) -> None:
    axes.imshow(picture.permute(1, 2, 0).numpy(), interpolation="lanczos", aspect="auto")
    axes.set_axis_off()
