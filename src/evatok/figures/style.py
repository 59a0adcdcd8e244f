"""One look for every figure and page: who chooses lengths has the same colour, mark and line everywhere.

The colours are those of Okabe and Ito ("Color universal design", 2008), which people who see few colours tell apart;
marks and lines differ too, for prints in grey.
"""

from typing import NamedTuple

INK, QUIET, GRID, PAPER = "#212529", "#6c757d", "#e9ecef", "#ffffff"
# Of what is one of a kind, such as the bars of a video's tokens.
ACCENT = "#0072b2"


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
_SAME = {"mean": "best fixed", "fixed": "best fixed", "regression": "router", "adaptive": "router"}
_OTHERS = (
    Look("#e69f00", "<", "-."),
    Look("#56b4e9", ">", "-."),
    Look("#cc79a7", "h", "-."),
    Look("#b8a800", "p", "-."),
)


def look_of(strategy: str, number: int = 0) -> Look:
    """How a strategy looks: by its name, or by its first word, such as "beam" of "beam 2".

    Args:
        strategy: such as `router`, `beam 2`, `best fixed`, `mean`, `uniform`.
        number: tells strategies of other names apart; after four looks they repeat.
    """
    for name in (strategy, strategy.partition(" ")[0]):
        if (known := _SAME.get(name, name)) in _LOOKS:
            return _LOOKS[known]
    return _OTHERS[number % len(_OTHERS)]
