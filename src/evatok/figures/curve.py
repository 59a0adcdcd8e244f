"""The figure of quality over tokens: one panel a metric, one line a strategy (the paper's form)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import ScalarFormatter

from evatok.figures.tokens import DOTS_PER_INCH, INK, QUIET

_COLORS = ("#3b6fb6", "#d9480f", "#2b8a3e", "#9c36b5", "#c2255c", "#e8a200", "#0b7285", "#5c940d", "#495057", "#f783ac")
_STYLES = ("o-", ".:", ".--", ".-.")
_GREY, _GREY_STYLE = "#868e96", "s--"
_COLUMNS = 7  # of the legend, as many as fit


@dataclass(frozen=True)
class Line:
    """Operating points of a strategy: mean tokens of a clip, and a value of each metric for each point.

    Lines of the same name have a colour in common, those of the same rule a style; without a rule a line is grey.
    """

    name: str
    tokens: Sequence[float]
    values: Sequence[Sequence[float]]
    rule: str | None = None


def curve_figure(
    title: str, metrics: Sequence[str], rows: Mapping[str, Sequence[Line]], *, width: float = 10.0
) -> Figure:
    """Strategies in one panel a metric and row, tokens on a logarithmic axis.

    Args:
        title: above the panels.
        metrics: names of the metrics, one a column, with an arrow to where it is good.
        rows: the strategies of each row by its title.
        width: in inches.
    """
    figure = Figure(
        figsize=(width, 0.4 * width * len(rows)), dpi=DOTS_PER_INCH, facecolor="white", layout="constrained"
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, size=9, color=INK)
    panels = figure.subplots(len(rows), len(metrics), squeeze=False)
    every = [line for lines in rows.values() for line in lines]
    colors = dict(zip(dict.fromkeys(line.name for line in every if line.rule), _COLORS * len(every), strict=False))
    styles = dict(zip(dict.fromkeys(line.rule for line in every if line.rule), _STYLES * len(every), strict=False))
    for row, (name, lines) in zip(panels, rows.items(), strict=True):
        for number, (axes, metric) in enumerate(zip(row, metrics, strict=True)):
            for line in lines:
                points = sorted(zip(line.tokens, line.values[number], strict=True))
                style, color = (styles[line.rule], colors[line.name]) if line.rule else (_GREY_STYLE, _GREY)
                axes.plot(*zip(*points, strict=True), style, color=color, ms=3, lw=1)
            _dress(axes, name, metric)
    plain = dict.fromkeys(line.name for line in every if not line.rule)
    marks = [Line2D([], [], color=color, lw=2, label=name) for name, color in colors.items()]
    marks += [Line2D([], [], color=INK, ls=style.lstrip("o."), lw=1, label=rule) for rule, style in styles.items()]
    if plain:
        marks.append(Line2D([], [], color=_GREY, marker="s", ls="--", ms=3, lw=1, label=", ".join(plain)))
    figure.legend(handles=marks, loc="outside lower center", ncols=min(len(marks), _COLUMNS), fontsize=7, frameon=False)
    return figure


def _dress(axes: Axes, name: str, metric: str) -> None:
    axes.set_title(name, size=8, color=INK, loc="left")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("tokens a clip", size=8, color=QUIET)
    axes.set_ylabel(metric, size=8, color=QUIET)
    axes.tick_params(labelsize=7, colors=QUIET)
    axes.grid(color="#e9ecef", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
