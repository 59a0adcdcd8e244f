"""Token bars and the figures that hold them."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from evatok.figures.style import ACCENT, DOTS_PER_INCH, look_of
from evatok.figures.tokens import (
    Choice,
    Chosen,
    Column,
    Panel,
    choices_figure,
    lengths_figure,
    moments_figure,
    save_png,
    token_bars,
)


def test_bars_are_as_high_as_their_blocks_have_tokens() -> None:
    axes = Figure().add_subplot()
    token_bars(axes, [8, 32, 16], [0, 0.5, 1.0, 1.25], 64)
    (stairs,) = axes.patches
    values, edges, _ = stairs.get_data()  # type: ignore[attr-defined]
    assert list(values) == [8, 32, 16] and list(edges) == [0, 0.5, 1.0, 1.25]
    assert axes.get_ylim()[1] > 64 and axes.get_xlim() == (0, 1.25)


def test_bars_have_the_colour_of_who_chose_them() -> None:
    colors = []
    for strategy in ("router", "beam 2", ""):
        axes = Figure().add_subplot()
        token_bars(axes, [8, 4], [0, 1, 2], 8, strategy)
        colors.append(to_hex(axes.patches[0].get_facecolor()))
    assert colors == [look_of("router").color, look_of("beam").color, ACCENT]


def test_lengths_share_one_scale(tmp_path: Path) -> None:
    pictures = torch.full((2, 3, 20, 30), 90, dtype=torch.uint8)
    columns = [
        Column("original", pictures, (), ("a",)),
        Column("4", pictures, (4,) * 4, ()),
        Column("8", pictures, (8,) * 4, ()),
    ]
    figure = lengths_figure(["0 s", "1 s"], columns)
    bars = [axes for axes in figure.axes if axes.containers]
    assert [bar.get_height() for axes in bars for bar in axes.patches] == [4] * 4 + [8] * 4  # type: ignore[attr-defined]
    assert {axes.get_ylim() for axes in bars} == {(0.0, 8.0)}
    assert len([axes for axes in figure.axes if axes.images]) == 6
    save_png(figure, tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").size[0] == 9 * DOTS_PER_INCH
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_choices_share_one_scale_and_show_their_pictures() -> None:
    pictures = torch.full((3, 3, 15, 20), 90, dtype=torch.uint8)
    lengths = {"still": ([4, 4], [8, 4]), "lively": ([4, 4], [32, 16])}
    columns = [
        Chosen(
            name,
            pictures,
            [0, 0.5, 1.0],
            [Choice("router", f"{name} {way}", pictures, each) for way, each in enumerate(both)],
        )
        for name, both in lengths.items()
    ]
    figure = choices_figure(columns)
    assert len([axes for axes in figure.axes if axes.images]) == 2 * 3 * 3
    bars = [axes for axes in figure.axes if not axes.images]
    drawn = [list(stairs.get_data()[0]) for axes in bars for stairs in axes.patches]  # type: ignore[attr-defined]
    assert drawn == [[4, 4], [8, 4], [4, 4], [32, 16]]
    assert len({axes.get_ylim() for axes in bars}) == 1 and bars[0].get_ylim()[1] > 32
    assert {text.get_text() for text in figure.texts} == {
        "still",
        "still 0",
        "still 1",
        "lively",
        "lively 0",
        "lively 1",
    }


def test_moments_show_their_pictures(tmp_path: Path) -> None:
    original = torch.full((2, 3, 20, 30), 200, dtype=torch.uint8)
    panel = Panel([0.1, 0.6], original, original // 2, [4, 8], [0, 0.5, 1.0], "caption")
    figure = moments_figure(panel)
    (bars,) = [axes for axes in figure.axes if not axes.images]
    assert len(figure.axes) == 5 and bars.get_ylim()[1] > 8
    save_png(figure, tmp_path / "figure.png")
    values = np.unique(np.asarray(Image.open(tmp_path / "figure.png").convert("RGB")))
    assert {100, 200} <= set(values.tolist())
