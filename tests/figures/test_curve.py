"""Figures of strategies: each looks as it does everywhere, and rules are told apart."""

from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from evatok.figures.confusion import confusion_figure
from evatok.figures.curve import Line, assignments_figure, curve_figure
from evatok.figures.style import look_of

TOKENS = (32.0, 64.0)
VALUES = ((0.2, 0.1), (20.0, 21.0))


def drawn(axes: Axes) -> list[tuple[str, str, str]]:
    return [(to_hex(line.get_color()), str(line.get_marker()), str(line.get_linestyle())) for line in axes.lines]


def test_a_strategy_looks_as_everywhere_and_other_rules_stay_behind() -> None:
    lines = [
        Line("router", TOKENS, VALUES, "reward"),
        Line("router", TOKENS, VALUES, "threshold"),
        Line("uniform", TOKENS, VALUES),
    ]
    figure = curve_figure("title", ["LPIPS", "PSNR"], {"all": lines, "film": lines[:1]})
    assert len(figure.axes) == 4
    router, by_threshold, uniform = drawn(figure.axes[0])
    assert router == look_of("router") and uniform == look_of("uniform")
    assert by_threshold[0] == router[0] and by_threshold[1:] != router[1:]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["router", "uniform", "by threshold"]


def test_strategies_of_one_look_have_marks_filled_otherwise() -> None:
    names = ["router", "router beam 1", "router beam 2", "mine", "yours"]
    figure = curve_figure("", ["LPIPS"], {"all": [Line(name, TOKENS, VALUES[:1], "reward") for name in names]})
    (axes,) = figure.axes
    fills = [line.get_fillstyle() for line in axes.lines]
    looks = drawn(axes)
    assert looks[1] == looks[2] == look_of("beam") and fills[1] != fills[2]
    assert len(set(looks)) == 4


def test_points_are_in_the_order_of_their_tokens() -> None:
    figure = curve_figure("", ["LPIPS"], {"all": [Line("router", (64.0, 32.0), ((0.1, 0.2),), "reward")]})
    (line,) = figure.axes[0].lines
    assert list(line.get_xdata()) == [32.0, 64.0] and list(line.get_ydata()) == [0.2, 0.1]  # type: ignore[arg-type]


def test_every_assignment_is_a_dot_behind_the_strategies() -> None:
    every = [(8.0, 0.3), (16.0, 0.2), (16.0, 0.25), (32.0, 0.1)]
    (axes,) = assignments_figure("", "LPIPS", every, {"uniform": [every[0], every[3]]}).axes
    uniform, dots = axes.lines
    assert len(dots.get_xdata()) == 4 and dots.zorder < uniform.zorder  # type: ignore[arg-type]


def test_confusion_has_a_panel_a_block_and_counts_of_clips() -> None:
    figure = confusion_figure([4, 8], [[[3, 1], [0, 0]], [[0, 2], [1, 1]]])
    assert len(figure.axes) == 2
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["3", "1"], ["2", "1", "1"]]
