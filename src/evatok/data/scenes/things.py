"""Things that move over a scene: which cut-outs, and where they are in every frame."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evatok.data.scenes.views import FRAMES, Views, eased

PRESENT = 0.35  # chance that there are things
MOST = 3  # of them
SIZE = (0.1, 0.5)  # of a thing's longer side, in sides of the frame
# How often a thing rests, goes from one place in the frame to another, or comes in and leaves.
KINDS = {"rest": 0.2, "move": 0.35, "cross": 0.45}
DURATION = (10, 80)  # frames that a movement takes: fast ones are as likely as ones twice as slow
BEND = 0.3  # how far a path may be bent, in sides of the frame
TURNS = 0.25  # chance that a thing turns
TURN = math.radians(6)  # in a frame, at most
GROWS = 0.25  # chance that a thing grows or shrinks
GROWTH = 2.0  # in all frames, at most
AT_PLACE = 0.7  # chance that a thing belongs to the scene, so that it moves as the view moves; others keep to the view


@dataclass(frozen=True)
class Thing:
    """A cut-out that moves.

    Args:
        cutout: its number.
        mirrored: whether it is mirrored left to right.
        path: float64 (FRAMES, 4): y and x of its centre and its longer side in sides of the frame, and its
            angle in radians.
    """

    cutout: int
    mirrored: bool
    path: NDArray[np.float64]


def draw_things(rng: np.random.Generator, cutouts: int, views: Views) -> list[Thing]:
    """Things that move over a scene, mostly none; `cutouts` is how many cut-outs there are."""
    if not cutouts or rng.random() >= PRESENT:
        return []
    return [draw_thing(rng, cutouts, views) for _ in range(int(rng.integers(1, MOST + 1)))]


def draw_thing(rng: np.random.Generator, cutouts: int, views: Views) -> Thing:
    """One thing over a scene that is seen by `views` (FRAMES, 4)."""
    size = rng.uniform(*SIZE)
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    path = np.zeros((FRAMES, 4))
    path[:, :2] = _places(rng, kind, size)
    path[:, 2] = size
    if rng.random() < GROWS:
        path[:, 2] *= np.geomspace(1, GROWTH ** rng.uniform(-1, 1), FRAMES)
    if rng.random() < TURNS:
        path[:, 3] = rng.uniform(-TURN, TURN) * np.arange(FRAMES)
    if rng.random() < AT_PLACE:
        path = in_scene(path, views, FRAMES // 2)
    return Thing(int(rng.integers(cutouts)), bool(rng.random() < 0.5), path)


def in_scene(path: NDArray[np.float64], views: Views, frame: int) -> NDArray[np.float64]:
    """The path (FRAMES, 4), as seen in frame `frame`, of a thing that belongs to the scene rather than to the view."""
    y, x, side, angle = views[frame]
    down, right = (path[:, :2].T - 0.5) * side
    scene_y = y + math.sin(angle) * right + math.cos(angle) * down
    scene_x = x + math.cos(angle) * right - math.sin(angle) * down
    cos, sin = np.cos(views[:, 3]), np.sin(views[:, 3])
    from_y, from_x = scene_y - views[:, 0], scene_x - views[:, 1]
    seen_y = 0.5 + (cos * from_y - sin * from_x) / views[:, 2]
    seen_x = 0.5 + (cos * from_x + sin * from_y) / views[:, 2]
    return np.stack([seen_y, seen_x, path[:, 2] * side / views[:, 2], path[:, 3] + angle - views[:, 3]], 1)


def _places(rng: np.random.Generator, kind: str, size: float) -> NDArray[np.float64]:
    """Centres in all frames, (FRAMES, 2): y and x."""
    start, end = rng.uniform(0.1, 0.9, 2), rng.uniform(0.1, 0.9, 2)
    if kind == "rest":
        return np.repeat(start[None], FRAMES, 0)
    duration = math.exp(rng.uniform(*np.log(DURATION)))
    first = rng.uniform(-duration / 2, FRAMES - duration / 2)
    if kind == "move":
        part = eased(np.array([first, first + duration]), np.array([[0.0], [1.0]]))
    else:
        across, way = int(rng.integers(2)), -1 if rng.random() < 0.5 else 1
        start[across], end[across] = 0.5 - way * (0.5 + size), 0.5 + way * (0.5 + size)
        part = (np.arange(FRAMES, dtype=np.float64)[:, None] - first) / duration
    bend = rng.uniform(-BEND, BEND, 2)
    return start + part * (end - start) + 4 * np.clip(part * (1 - part), 0, 1) * bend
