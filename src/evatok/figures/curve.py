"""The figure of quality over tokens: one panel a metric, one line a strategy (the paper's form)."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from evatok.figures.tokens import DOTS_PER_INCH, INK, QUIET

_COLORS = ("#3b6fb6", "#d9480f", "#2b8a3e", "#9c36b5", "#c2255c", "#e8a200", "#0b7285", "#5c940d")


@dataclass(frozen=True)
class Line:
    """Operating points of a strategy: mean tokens of a clip, and a value of each panel's metric for each point."""

    name: str
    tokens: Sequence[float]
    values: Sequence[Sequence[float]]
    plain: bool = False


def curve_figure(title: str, metrics: Sequence[str], lines: Sequence[Line], *, width: float = 9.0) -> Figure:
    """Strategies in one panel a metric, tokens on a logarithmic axis.

    Args:
        title: above the panels.
        metrics: names of the panels' metrics, with an arrow to where it is good.
        lines: the strategies; a `plain` one is drawn in grey.
        width: in inches.
    """
    figure = Figure(figsize=(width, 0.46 * width), dpi=DOTS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, size=9, color=INK)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for number, (axes, metric) in enumerate(zip(panels, metrics, strict=True)):
        colors = iter(_COLORS * len(lines))
        for line in lines:
            color = "#868e96" if line.plain else next(colors)
            points = sorted(zip(line.tokens, line.values[number], strict=True))
            axes.plot(
                *zip(*points, strict=True), "o--" if line.plain else "o-", color=color, label=line.name, ms=3, lw=1
            )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlabel("tokens a clip", size=8, color=QUIET)
        axes.set_ylabel(metric, size=8, color=QUIET)
        axes.tick_params(labelsize=7, colors=QUIET)
        axes.grid(color="#e9ecef", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize=7, frameon=False)
    return figure
