"""Configs as entries: what is missing, unknown, of several classes."""

import json
from dataclasses import asdict, dataclass
from typing import ClassVar

import pytest

from evatok.utils.configs import check_least, from_dict, to_dict


@dataclass(frozen=True)
class Square:
    side: int = 1
    colours: tuple[int, ...] = ()


@dataclass(frozen=True)
class Circle:
    radius: int


@dataclass(frozen=True)
class Drawing:
    shape: Square | Circle
    frame: Square | None = None
    names: list[str] | str = "none"


ALL = [Drawing(Square(2, (3, 4))), Drawing(Circle(5), Square(6), ["a", "b"]), Drawing(Square())]


@pytest.mark.parametrize("drawing", ALL)
def test_a_config_comes_back_from_json(drawing: Drawing) -> None:
    assert from_dict(Drawing, json.loads(json.dumps(to_dict(drawing)))) == drawing


def test_entries_say_their_class() -> None:
    assert to_dict(ALL[1])["shape"] == {"type": "Circle", "radius": 5}


def test_without_a_type_it_is_the_first_class_and_defaults_fill_in() -> None:
    assert from_dict(Drawing, json.loads(json.dumps(asdict(ALL[0])))) == ALL[0]
    assert from_dict(Drawing, {"shape": {"side": 2}}) == Drawing(Square(2))


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"shape": {}, "sharpe": 1}, "Drawing does not know sharpe; it has shape, frame, names"),
        ({"shape": {"radius": 5}}, "Square does not know radius; it has side, colours"),
        ({"shape": {"type": "Circle", "side": 5}}, "Circle does not know side; it has radius"),
        ({"shape": {"type": "Line"}}, "type must be Square or Circle, got 'Line'"),
        ({"shape": {}, "frame": {"type": "Circle", "radius": 5}}, "type must be Square, got 'Circle'"),
        ({"shape": 3}, "Square or Circle must be an object, got 3"),
        ([], r"Drawing must be an object, got \[\]"),
    ],
)
def test_what_does_not_fit_is_named(entries: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        from_dict(Drawing, entries)


@dataclass(frozen=True)
class Renamed:
    OLD_NAMES: ClassVar[dict[str, str]] = {"colour": "paint"}

    paint: int
    side: int = 1


def test_old_names_are_read_and_new_ones_written() -> None:
    assert from_dict(Renamed, {"colour": 3, "side": 2}) == from_dict(Renamed, {"paint": 3, "side": 2}) == Renamed(3, 2)
    assert to_dict(Renamed(3)) == {"paint": 3, "side": 1}
    with pytest.raises(ValueError, match="Renamed does not know size; it has paint, side"):
        from_dict(Renamed, {"size": 3})


def test_fields_below_their_least_value_are_named() -> None:
    check_least(Square(2), 2, "side")
    with pytest.raises(ValueError, match="side must be at least 3, got 2"):
        check_least(Square(2), 3, "side")
    with pytest.raises(ValueError, match="side must be at least 0, got nan"):
        check_least(Square(float("nan")), 0, "side")  # type: ignore[arg-type]
    check_least(Drawing(Square()), 1, "frame")


def test_tuples_and_dictionaries_of_dataclasses_come_back() -> None:
    album = Album((Circle(1), Circle(2)), {"a": (Square(2),), "b": ()}, (3, 4))
    assert from_dict(Album, json.loads(json.dumps(asdict(album)))) == album
    with pytest.raises(ValueError, match=r"2 values are needed, got \[3\]"):
        from_dict(Album, asdict(album) | {"size": [3]})


@dataclass(frozen=True)
class Album:
    circles: tuple[Circle, ...]
    squares: dict[str, tuple[Square, ...]]
    size: tuple[int, int]
