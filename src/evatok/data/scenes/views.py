"""How a camera looks at a picture: square views that rest, drift, rush, go from station to station, or shake.

Views are rows (y, x, side, angle): the centre and the side in pixels of the picture, and the angle in radians by
which the view is turned. They never reach beyond the picture.
"""

import math

import numpy as np
from numpy.typing import NDArray

FRAMES = 64  # views that are drawn together: one for every frame of a path

# How often each kind of view is drawn.
OVER_PICTURES = {"still": 0.25, "drift": 0.2, "rush": 0.15, "stations": 0.25, "shake": 0.15}
OVER_VIDEOS = {"still": 0.55, "drift": 0.1, "rush": 0.1, "stations": 0.1, "shake": 0.15}

# Side of the view, as a share of the shorter side: from and to.
PICTURE_SHARE = (0.35, 0.9)
VIDEO_SHARE = (0.6, 1.0)

UPRIGHT = 0.5  # chance that the view is not turned at first
TILT = math.radians(8)  # largest angle of the view at first
DRIFT = (0.05, 0.5)  # how far a drift goes in all frames, in sides of the view
RUSH = (6, 24)  # frames that a rush takes
PAUSE = (0, 16)  # frames between rushes
ROLL = math.radians(25)  # largest angle after a rush
STATIONS = 5  # a path goes through this many placements of the view, at equal distances in time
REST = 0.25  # chance that the view stays where it is until the next station
REACH = 0.25  # how far the view moves between stations, in shorter sides of the picture, at most
SHAKE = (0.004, 0.02)  # amplitude of each oscillation, in sides of the view (of the angle: in radians)
PERIODS = (6, 40)  # frames of an oscillation
OSCILLATIONS = 3  # added up for a shake

Views = NDArray[np.float64]


def draw_views(rng: np.random.Generator, size: tuple[int, int], moving: bool) -> Views:
    """Views in all frames.

    Args:
        rng: decides everything.
        size: (height, width) of what is looked at.
        moving: whether that is a video: then the camera stands more often, and looks at more of it.

    Returns:
        float64 (FRAMES, 4): y, x, side, angle.
    """
    kinds, share = (OVER_VIDEOS, VIDEO_SHARE) if moving else (OVER_PICTURES, PICTURE_SHARE)
    kind = str(rng.choice(list(kinds), p=list(kinds.values())))
    return views_of_kind(kind, rng, size, share)


def views_of_kind(kind: str, rng: np.random.Generator, size: tuple[int, int], share: tuple[float, float]) -> Views:
    """As `draw_views`, of one of the kinds; the views' side at first is in `share` of the shorter side."""
    start = _placement(rng, size, share)
    match kind:
        case "still":
            views = np.repeat(start[None], FRAMES, 0)
        case "drift":
            views = _drift(rng, start)
        case "rush":
            views = _rush(rng, start, size, share)
        case "stations":
            views = _stations(rng, start, size, share)
        case _:  # "shake"
            base = _drift(rng, start) if rng.random() < 0.5 else np.repeat(start[None], FRAMES, 0)
            views = _shaken(rng, base)
    return inside(views, size)


def inside(views: Views, size: tuple[int, int]) -> Views:
    """The nearest views that do not reach beyond a picture of this size; (..., 4) as given."""
    y, x, side, angle = np.moveaxis(views, -1, 0)
    spread = np.abs(np.cos(angle)) + np.abs(np.sin(angle))
    side = np.minimum(side, min(size) / spread)
    margin = side / 2 * spread
    y, x = np.clip(y, margin, size[0] - margin), np.clip(x, margin, size[1] - margin)
    return np.stack([y, x, side, angle], -1)


def _placement(rng: np.random.Generator, size: tuple[int, int], share: tuple[float, float]) -> Views:
    """Any view: (4,)."""
    angle = 0.0 if rng.random() < UPRIGHT else rng.uniform(-TILT, TILT)
    side = min(size) * rng.uniform(*share)
    margin = side / 2
    y, x = rng.uniform(margin, size[0] - margin), rng.uniform(margin, size[1] - margin)
    return inside(np.array([y, x, side, angle]), size)


def _drift(rng: np.random.Generator, start: Views) -> Views:
    """A slow and steady movement."""
    towards, far = rng.uniform(0, 2 * math.pi), rng.uniform(*DRIFT) * start[2]
    turn = rng.uniform(-0.5, 0.5) * TILT
    end = start + np.array([far * math.sin(towards), far * math.cos(towards), 0.0, turn])
    end[2] *= math.exp(rng.uniform(-0.2, 0.2))
    return start + np.linspace(0, 1, FRAMES)[:, None] * (end - start)


def _rush(rng: np.random.Generator, start: Views, size: tuple[int, int], share: tuple[float, float]) -> Views:
    """Fast pans, zooms and turns, with pauses between them."""
    times, stops = [0.0], [start]
    now = float(rng.integers(*PAUSE))
    while now < FRAMES:
        times.append(now)
        stops.append(stops[-1])
        target = stops[-1].copy()
        match rng.choice(["pan", "zoom", "turn"], p=[0.6, 0.25, 0.15]):
            case "pan":
                target[:2] = rng.uniform(0, 1, 2) * size
            case "zoom":
                target[2] = min(size) * rng.uniform(*share)
            case _:
                target[3] = rng.uniform(-ROLL, ROLL)
        now += float(rng.integers(*RUSH))
        times.append(now)
        stops.append(inside(target, size))
        now += float(rng.integers(*PAUSE))
    return eased(np.array(times), np.stack(stops))


def _stations(rng: np.random.Generator, start: Views, size: tuple[int, int], share: tuple[float, float]) -> Views:
    """A few placements not far from each other, with rests."""
    short, stops = min(size), [start]
    while len(stops) < STATIONS:
        if rng.random() < REST:
            stops.append(stops[-1])
            continue
        centre = stops[-1][:2] + rng.uniform(-REACH, REACH, 2) * short
        target = np.array([*centre, short * rng.uniform(*share), rng.uniform(-TILT, TILT)])
        stops.append(inside(target, size))
    return eased(np.linspace(0, FRAMES - 1, STATIONS), np.stack(stops))


def _shaken(rng: np.random.Generator, views: Views) -> Views:
    """Views as a hand holds them."""
    time = np.arange(FRAMES)[:, None]
    offset = np.zeros((FRAMES, 4))
    for _ in range(OSCILLATIONS):
        period, phase = rng.uniform(*PERIODS, 4), rng.uniform(0, 2 * math.pi, 4)
        # A slow oscillation goes further than a fast one.
        offset += rng.uniform(*SHAKE) * np.sqrt(period / PERIODS[1]) * np.sin(2 * math.pi * time / period + phase)
    side = views[:, 2:3]
    return views + offset * np.concatenate([side, side, 0.5 * side, np.ones_like(side)], 1)


def eased(times: NDArray[np.float64], stops: NDArray[np.float64]) -> NDArray[np.float64]:
    """From each stop to the next, starting and arriving gently.

    Args:
        times: (stops,) frames at which the stops are reached, ascending; before the first and after the last
            nothing moves.
        stops: (stops, values).

    Returns:
        float64 (FRAMES, values).
    """
    now = np.arange(FRAMES)
    before = np.clip(np.searchsorted(times, now, side="right") - 1, 0, len(times) - 2)
    span = np.maximum(times[before + 1] - times[before], 1e-9)
    part = np.clip((now - times[before]) / span, 0, 1)[:, None]
    ease = part * part * (3 - 2 * part)
    return stops[before] + ease * (stops[before + 1] - stops[before])
