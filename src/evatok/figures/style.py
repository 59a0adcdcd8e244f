"""One look for every figure and page: who chooses lengths has the same colour, mark and line everywhere.

The colours are those of Okabe and Ito ("Color universal design", 2008), which people who see few colours tell apart;
marks and lines differ too, for prints in grey.
"""

from collections.abc import Iterable
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

# Imported only where something is drawn: encoding and decoding do without it.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, FRAME, GRID, PAPER = "#212529", "#6c757d", "#ced4da", "#e9ecef", "#ffffff"
# Of what is one of a kind, such as the bars of a video's tokens.
ACCENT = "#0072b2"
DOTS_PER_INCH = 130  # as wide as a page
# Sizes of letters in points: what is said, what axes say, and their numbers.
TEXT, LABEL, NUMBER = 8.5, 7.5, 7.0


class Look(NamedTuple):
    """Of a strategy: a colour, and matplotlib's names of a mark and a line."""

    color: str
    marker: str
    line: str


_LOOKS = {
    "search": Look("#000000", "D", "-"),
    "beam": Look("#009e73", "^", "-"),
    "router": Look("#0072b2", "o", "-"),
    "best fixed": Look("#d55e00", "s", "--"),
    "uniform": Look("#868e96", "x", "--"),
    "motion": Look("#cc79a7", "v", ":"),
    "error": Look("#e69f00", "P", ":"),
    "random": Look("#56b4e9", ".", ":"),
}
# Other names of the same: what chooses best fixed lengths is the mean of many clips' tables.
_SAME = {
    "mean": "best fixed",
    "fixed": "best fixed",
    "regression": "router",
    "adaptive": "router",
    "best uniform": "uniform",
}
_OTHERS = (
    Look("#b8a800", "p", "-."),
    Look("#e69f00", "<", "-."),
    Look("#56b4e9", ">", "-."),
    Look("#cc79a7", "h", "-."),
)
_MARKS = "osD^vP*X"


def look_of(strategy: str) -> Look:
    """How a strategy looks: by its name, by its being a beam, or by its first word, such as "mean" of "mean reward".

    Args:
        strategy: such as `router`, `regression beam 2`, `best fixed`, `mean`, `uniform`.
    """
    return looks_of([strategy])[strategy]


def looks_of(strategies: Iterable[str]) -> dict[str, Look]:
    """How each of several strategies looks; those of other names are told apart, after four looks they repeat."""
    others = cycle(_OTHERS)
    return {strategy: _known(strategy) or next(others) for strategy in strategies}


def _known(strategy: str) -> Look | None:
    first, *others = strategy.split(" ")
    candidates = (strategy, "beam" if "beam" in others else first)
    names = (_SAME.get(name, name) for name in candidates)
    return next((_LOOKS[name] for name in names if name in _LOOKS), None)


def look_in_order(number: int, count: int) -> Look:
    """The look of one of several things in an order, such as numbers of tokens a block: from dark to light."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    # The end of the map is too light for a line on paper.
    color = to_hex(colormaps["viridis"](0.85 * number / max(count - 1, 1)))
    return Look(color, _MARKS[number % len(_MARKS)], "-")


def new_figure(width: float, height: float, *, constrained: bool = False) -> "Figure":
    """An empty figure of a size in inches; `constrained` lets matplotlib place its parts."""
    from matplotlib.figure import Figure

    return Figure((width, height), DOTS_PER_INCH, facecolor=PAPER, layout="constrained" if constrained else None)


def dress(axes: "Axes", *, title: str = "", x: str = "", y: str = "", grid: bool = False) -> None:
    """Gives axes the letters, lines and colours of all figures, with a title and names of the axes."""
    axes.set_title(title, size=TEXT, color=INK, loc="left", parse_math=False)
    axes.set_xlabel(x, size=LABEL, color=QUIET, labelpad=1)
    axes.set_ylabel(y, size=LABEL, color=QUIET)
    axes.tick_params(labelsize=NUMBER, colors=QUIET, length=2, color=FRAME, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FRAME)
    if grid:
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)


def add_legend(owner: "Axes | Figure", **options: Any) -> None:
    """Adds a legend in the letters of all figures, with names as they stand: "$" in one begins no formula."""
    legend = owner.legend(**{"fontsize": NUMBER, "frameon": False, **options})
    for text in legend.get_texts():
        text.set_parse_math(False)
