"""Views of a camera, and the paths of things that they see."""

import numpy as np
import pytest

from evatok.data.scenes import things, views
from evatok.data.scenes.views import FRAMES, OVER_PICTURES, OVER_VIDEOS, draw_views, views_of_kind

SIZE = (200, 300)


def many(kind: str) -> np.ndarray:
    """60 paths of a kind: (60, FRAMES, 4)."""
    return np.stack([views_of_kind(kind, np.random.default_rng(seed), SIZE, (0.35, 0.9)) for seed in range(60)])


@pytest.mark.parametrize("kind", OVER_PICTURES)
def test_views_stay_inside(kind: str) -> None:
    y, x, side, angle = np.moveaxis(many(kind), -1, 0)
    assert side.min() > 20
    for across, down in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        corner_x = x + side / 2 * (across * np.cos(angle) - down * np.sin(angle))
        corner_y = y + side / 2 * (across * np.sin(angle) + down * np.cos(angle))
        assert corner_x.min() > -1e-6 and corner_x.max() < SIZE[1] + 1e-6
        assert corner_y.min() > -1e-6 and corner_y.max() < SIZE[0] + 1e-6


def test_kinds_move_as_they_are_called() -> None:
    speed = {kind: np.abs(np.diff(many(kind), axis=1))[..., :2].max(-1) / SIZE[0] for kind in OVER_PICTURES}
    assert not speed["still"].any()
    assert np.median(speed["drift"]) > 0 and speed["drift"].max() < 0.01
    assert speed["rush"].max() > 0.05 and (speed["rush"] == 0).mean() > 0.2
    rests = (speed["stations"] == 0).mean()
    assert 0.1 < rests < 0.5 and speed["stations"].max() < 0.05
    assert np.median(speed["shake"]) > np.median(speed["drift"]) and speed["shake"].max() < 0.03


def test_shaking_is_smooth_and_goes_nowhere() -> None:
    paths = many("shake")[..., 1]
    turns = (np.diff(np.sign(np.diff(paths, axis=1)), axis=1) != 0).sum(1)
    assert 2 < turns.mean() < 24
    assert np.abs(np.diff(paths, n=2, axis=1)).max() < 0.02 * SIZE[0]


def test_a_camera_stands_more_often_over_videos() -> None:
    def still(moving: bool) -> float:
        drawn = [draw_views(np.random.default_rng(seed), SIZE, moving) for seed in range(1000)]
        return float(np.mean([not np.ptp(each, axis=0).any() for each in drawn]))

    assert still(False) == pytest.approx(OVER_PICTURES["still"], abs=0.05)
    assert still(True) == pytest.approx(OVER_VIDEOS["still"], abs=0.05)
    for kinds in (OVER_PICTURES, OVER_VIDEOS):
        assert sum(kinds.values()) == pytest.approx(1)


def test_things_rest_move_and_come_and_leave() -> None:
    def paths(kind: str) -> np.ndarray:
        return np.stack([things._places(np.random.default_rng(seed), kind, 0.2) for seed in range(80)])

    assert not np.ptp(paths("rest"), axis=1).any()
    moved = paths("move")
    assert (np.ptp(moved, axis=1).max(-1) > 0.1).mean() > 0.7
    assert moved.min() > -0.5 and moved.max() < 1.5
    crossed = paths("cross")
    outside = (np.abs(crossed - 0.5).max(-1) > 0.5 + 0.1).any(1)
    assert outside.mean() > 0.6 and (~outside).mean() < 0.4
    assert (np.abs(crossed - 0.5).max(-1) < 0.5).any(1).mean() > 0.8


def test_things_are_drawn_as_often_as_said() -> None:
    rest = views_of_kind("still", np.random.default_rng(0), SIZE, (0.5, 0.6))
    drawn = [things.draw_things(np.random.default_rng(seed), 5, rest) for seed in range(400)]
    assert np.mean([bool(each) for each in drawn]) == pytest.approx(things.PRESENT, abs=0.08)
    assert {len(each) for each in drawn} == {0, 1, 2, 3}
    assert {thing.cutout for each in drawn for thing in each} == set(range(5))
    assert not things.draw_things(np.random.default_rng(0), 0, rest)


def test_a_thing_in_the_scene_moves_against_the_view() -> None:
    seen = np.repeat(np.array([[100.0, 150.0, 80.0, 0.0]]), FRAMES, 0)
    seen[:, 1] += np.arange(FRAMES) - FRAMES // 2
    path = np.repeat(np.array([[0.5, 0.25, 0.2, 0.0]]), FRAMES, 0)
    found = things.in_scene(path, seen, FRAMES // 2)
    assert np.allclose(found[FRAMES // 2], path[0])
    assert np.allclose(np.diff(found[:, 1]), -1 / 80) and np.allclose(found[:, [0, 2, 3]], path[:, [0, 2, 3]])
    seen[-1] = (100, 150, 40, np.pi / 2)  # nearer, and turned: what was left of the centre is above or below it
    last = things.in_scene(path, seen, FRAMES // 2)[-1]
    assert np.allclose(last, (1.0, 0.5, 0.4, -np.pi / 2))


def test_eased_starts_and_arrives_gently() -> None:
    path = views.eased(np.array([10.0, 30.0]), np.array([[0.0], [1.0]]))[:, 0]
    assert not path[:11].any() and (path[30:] == 1).all()
    steps = np.diff(path)[10:30]
    assert steps.min() > 0 and steps[0] < steps[10] / 3 and steps[-1] < steps[10] / 3
