"""Looks of strategies: told apart by colour and by mark, and the same under every name of one strategy."""

from itertools import combinations

from evatok.figures.style import look_in_order, look_of, looks_of

STRATEGIES = "search", "beam 2", "router", "best fixed", "uniform", "motion", "error", "random"


def _luminance(color: str) -> float:
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_no_two_strategies_look_alike_in_colour_nor_in_mark() -> None:
    for one, other in combinations(map(look_of, STRATEGIES), 2):
        assert one.color != other.color
        assert one.marker != other.marker


def test_names_of_one_strategy_have_one_look() -> None:
    assert look_of("mean") == look_of("fixed") == look_of("best fixed")
    assert look_of("beam 1") == look_of("beam 8") == look_of("beam")
    assert look_of("regression beam 2") == look_of("beam")
    assert look_of("regression") == look_of("router")
    assert look_of("best uniform") == look_of("uniform")


def test_strategies_that_nobody_knows_are_told_apart() -> None:
    looks = list(looks_of(["mine", "router", "yours", "third", "fourth", "fifth"]).values())
    assert len({look.color for look in looks[:5]}) == 5
    assert looks[5] == looks[0] == look_of("mine")


def test_solid_lines_differ_from_paper() -> None:
    assert all(_luminance(look_of(each).color) < 0.75 for each in STRATEGIES)


def test_things_in_an_order_go_from_dark_to_light() -> None:
    looks = [look_in_order(number, 5) for number in range(5)]
    brightness = [_luminance(look.color) for look in looks]
    assert brightness == sorted(brightness) and brightness[-1] < 0.8
    assert len({look.marker for look in looks}) == 5
