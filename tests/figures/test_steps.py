"""Figures of a number over steps."""

import numpy as np

from evatok.figures.steps import Steps, steps_figure


def test_few_points_are_drawn_as_they_are() -> None:
    figure = steps_figure("loss", [Steps("4", [1, 2, 3], [3.0, 1.0, 2.0]), Steps("8", [2], [5.0])])
    (axes,) = figure.axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[3.0, 1.0, 2.0], [5.0]]  # type: ignore[arg-type]
    assert axes.get_legend() is not None and axes.get_title(loc="left") == "loss"
    assert axes.lines[0].get_color() != axes.lines[1].get_color()


def test_many_points_keep_their_mean_and_their_range() -> None:
    steps = range(10_000)
    figure = steps_figure("loss", [Steps("", steps, [step % 2 for step in steps])])
    (axes,) = figure.axes
    (line,) = axes.lines
    heights = np.asarray(line.get_ydata())
    assert len(heights) <= 200 and (abs(heights - 0.5) < 0.02).all()
    (shade,) = axes.collections
    shaded = np.asarray(shade.get_paths()[0].vertices)[:, 1]
    assert shaded.min() == 0 and shaded.max() == 1
