"""The figure of quality over tokens: one panel a metric, one line a strategy (the paper's form)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import ScalarFormatter

from evatok.figures.style import FRAME, INK, PAPER, TEXT, add_legend, dress, looks_of, new_figure

# Of rules beside the first, whose lines are thin and without marks.
_STYLES = (":", "-.", "--")
# Of marks of strategies that have one look, such as beams of several widths.
_FILLS = ("full", "left", "bottom", "none")
_COLUMNS = 7  # of the legend, as many as fit


@dataclass(frozen=True)
class Line:
    """Operating points of a strategy: mean tokens of a clip, and a value of each metric for each point.

    The name says how it looks (`look_of`), the rule how much stands out: the first rule of a figure the most.
    """

    name: str
    tokens: Sequence[float]
    values: Sequence[Sequence[float]]
    rule: str = ""


def curve_figure(title: str, metrics: Sequence[str], rows: Mapping[str, Sequence[Line]]) -> Figure:
    """Strategies in one panel a metric and row, tokens on a logarithmic axis.

    Args:
        title: above the panels.
        metrics: names of the metrics, one a column, with an arrow to where it is good.
        rows: the strategies of each row by its title.
    """
    figure = new_figure(10.0, 4.0 * len(rows), constrained=True)
    figure.suptitle(title, size=TEXT, color=INK, parse_math=False)
    every = [line for lines in rows.values() for line in lines]
    names, rules = (dict.fromkeys(texts) for texts in ([line.name for line in every], [line.rule for line in every]))
    drawn = _drawn([*names])
    styles = dict(zip([rule for rule in rules if rule][1:], _STYLES * len(rules), strict=False))
    panels = figure.subplots(len(rows), len(metrics), squeeze=False)
    for row, (name, lines) in zip(panels, rows.items(), strict=True):
        for number, (axes, metric) in enumerate(zip(row, metrics, strict=True)):
            for line in lines:
                points = sorted(zip(line.tokens, line.values[number], strict=True))
                axes.plot(*zip(*points, strict=True), **drawn[line.name] | _by_rule(styles.get(line.rule)))
            dress(axes, title=name, x="tokens a clip", y=metric, grid=True)
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(ScalarFormatter())
    marks = [Line2D([], [], label=name, **look) for name, look in drawn.items()]
    marks += [Line2D([], [], color=INK, ls=style, lw=0.8, label=f"by {rule}") for rule, style in styles.items()]
    add_legend(figure, handles=marks, loc="outside lower center", ncols=min(len(marks), _COLUMNS))
    return figure


def _drawn(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How matplotlib draws each strategy: its look, and where several have one, marks that are filled otherwise."""
    looks = looks_of(names)
    drawn, fills = {}, {look: cycle(_FILLS) for look in looks.values()}
    for name, look in looks.items():
        how = {"color": look.color, "marker": look.marker, "ls": look.line, "fillstyle": next(fills[look])}
        drawn[name] = how | {"markerfacecoloralt": PAPER, "ms": 4, "lw": 1}
    return drawn


def _by_rule(style: str | None) -> dict[str, Any]:
    """What is otherwise where a rule is not the first."""
    return {} if style is None else {"marker": "", "ls": style, "lw": 0.8}


def strategies_figure(title: str, x: str, y: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Strategies in one panel over anything: points `(x, y)` by the strategy's name."""
    figure = new_figure(5.4, 3.2, constrained=True)
    axes = figure.add_subplot()
    for name, look in _drawn([*lines]).items():
        axes.plot(*zip(*lines[name], strict=True), label=name, **look)
    dress(axes, title=title, x=x, y=y, grid=True)
    add_legend(figure, loc="outside right upper")
    return figure


def assignments_figure(
    title: str, quality: str, every: Sequence[tuple[float, float]], lines: Mapping[str, Sequence[tuple[float, float]]]
) -> Figure:
    """Every assignment as a dot of its tokens and its quality, and strategies that are lines through some of them."""
    figure = strategies_figure(title, "tokens a clip", quality, lines)
    (axes,) = figure.axes
    axes.plot(*zip(*every, strict=True), ".", color=FRAME, ms=3, zorder=0)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    return figure
