"""Charts: what they draw can be counted, and every strategy has its own colour."""

import re
from xml.etree import ElementTree

from evatok.app.charts import curve_chart, mark_of, token_bars
from evatok.app.clip_curve import Point
from evatok.figures.style import look_of


def test_a_bar_for_each_block_as_high_as_its_tokens() -> None:
    chart = ElementTree.fromstring(token_bars([4, 8, 2], [0.0, 0.25, 0.5, 0.75], (2, 4, 8)))
    bars = chart.findall("rect")
    heights = [float(bar.attrib["height"]) for bar in bars]
    assert heights[1] == 2 * heights[0] == 4 * heights[2]
    assert [bar.findtext("title") for bar in bars][1] == "8 tokens, 0.25 to 0.50 s"
    assert {bar.attrib["fill"] for bar in bars} == {look_of("router").color}


def test_a_dot_for_each_assignment_and_a_mark_for_each_choice() -> None:
    every = [Point((k, n), k + n, 1 / (k + n)) for k in (2, 4) for n in (2, 4)]
    chart = curve_chart(every, [every[0], every[3]], {"router": every[1], "search": every[2]})
    assert ElementTree.fromstring(chart) is not None and chart.count('r="1.7"') == 4
    assert re.findall(r'data-strategy="([^"]*)"', chart) == ["uniform", "uniform", "router", "search"]
    assert 'data-strategy="router"' not in curve_chart(every, (), {})


def test_nothing_is_drawn_of_nothing_and_of_one_point() -> None:
    assert curve_chart((), (), {}) == ""
    assert ElementTree.fromstring(curve_chart([Point((2,), 2, 0.0)], (), {})) is not None


def test_marks_have_their_strategys_colour() -> None:
    for name in ("search", "beam 2", "router", "best fixed", "uniform"):
        assert look_of(name).color in mark_of(name)
