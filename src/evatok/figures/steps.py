"""Small figures of one number, or of several of a kind, over the steps of a training or over something else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evatok.figures.style import ACCENT, NUMBER, Look, add_legend, dress, look_in_order, new_figure

# More points than this are drawn as means of so many groups, with the range of each group behind.
_GROUPS = 150
_SIZE = 4.4, 2.6


@dataclass(frozen=True)
class Steps:
    """A number over steps; several of a figure look by their order.

    Args:
        name: in the legend; empty where there is but one.
        steps: in order.
        values: one for each step; those that are not finite leave a gap.
    """

    name: str
    steps: Sequence[int]
    values: Sequence[float]


def steps_figure(title: str, lines: Sequence[Steps], *, x: str = "steps", log: bool = False) -> Figure:
    """Numbers over steps in one panel.

    Args:
        title: what the numbers are, with their unit.
        lines: at least one.
        x: what the steps are.
        log: whether values, which are then above 0, are on a logarithmic axis.
    """
    figure = new_figure(*_SIZE, constrained=True)
    axes = figure.add_subplot()
    for number, line in enumerate(lines):
        look = look_in_order(number, len(lines)) if len(lines) > 1 else Look(ACCENT, "o", "-")
        steps, middle, low, high = _grouped(line)
        marker = look.marker if len(steps) <= 40 else ""
        axes.plot(steps, middle, look.line, color=look.color, marker=marker, ms=3, lw=1, label=line.name)
        if len(steps) < len(line.steps):
            axes.fill_between(steps, low, high, color=look.color, alpha=0.15, lw=0)
    dress(axes, title=title, x=x, grid=True)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if log:
        axes.set_yscale("log")
    if len(lines) > 1:
        add_legend(axes, fontsize=NUMBER - 1, ncols=2)
    return figure


def _grouped(line: Steps) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Steps, means, and the least and the largest value, of groups of points; of few points, themselves."""
    steps, values = np.asarray(line.steps), np.asarray(line.values, float)
    if len(steps) <= _GROUPS:
        return steps, values, values, values
    parts = [*zip(np.array_split(steps, _GROUPS), np.array_split(values, _GROUPS), strict=True)]
    columns = [(step[-1], value.mean(), value.min(), value.max()) for step, value in parts]
    return tuple(np.asarray(column) for column in zip(*columns, strict=True))  # type: ignore[return-value]
