"""The figure of what a router confuses: how often it picks each level where each is best, a panel a block."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from evatok.figures.style import ACCENT, INK, NUMBER, PAPER, dress, new_figure


def confusion_figure(levels: Sequence[int], by_block: Sequence[Sequence[Sequence[int]]]) -> Figure:
    """Shares of the clips with each best level, by the level that was picked.

    Args:
        levels: tokens a block.
        by_block: clips by block, by the level that is best, by the level that was picked.
    """
    from matplotlib.colors import LinearSegmentedColormap

    figure = new_figure(2.1 * len(by_block) + 0.3, 2.4, constrained=True)
    colors = LinearSegmentedColormap.from_list("share", (PAPER, ACCENT))
    for number, counts in enumerate(by_block):
        axes = figure.add_subplot(1, len(by_block), number + 1)
        clips = np.asarray(counts, float)
        shares = clips / clips.sum(1, keepdims=True).clip(min=1)
        axes.imshow(shares, cmap=colors, vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            if clips[row, column]:
                color = PAPER if share > 0.6 else INK
                axes.text(column, row, f"{clips[row, column]:.0f}", ha="center", va="center", size=NUMBER, color=color)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(range(len(levels)), [*map(str, levels)])
        dress(axes, title=f"block {number + 1}", x="picked", y="" if number else "best")
    return figure
