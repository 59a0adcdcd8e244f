"""Views that move over photographs."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from evatok.data import photographs
from evatok.data.photographs import (
    FRAMES,
    PATHS,
    SIDE,
    TRAIN,
    VALIDATION,
    PhotographsConfig,
    PhotographsSource,
)

pytest.importorskip("skimage")


def test_photographs_are_classes_and_paths_videos() -> None:
    source = PhotographsSource(PhotographsConfig(["chelsea.png", "rocket.jpg"]))
    assert source.classes == ("chelsea", "rocket")
    assert len(source) == 2 * PATHS
    entry = source.describe(PATHS + 2)
    assert (entry.key, entry.label, entry.frames, entry.size) == ("rocket/2", 1, FRAMES, (SIDE, SIDE))
    with pytest.raises(IndexError):
        source.describe(2 * PATHS)


def test_validation_shares_no_photograph_with_training() -> None:
    assert not set(TRAIN) & set(VALIDATION)
    for name, files in (("train", TRAIN), ("validation", VALIDATION)):
        source = PhotographsSource(PhotographsConfig(name))  # type: ignore[arg-type]
        assert len(source) == len(files) * PATHS


def test_frames_are_the_same_however_they_are_asked_for() -> None:
    source = PhotographsSource(PhotographsConfig(["coffee.png"]))
    whole = source.read(3, 0, FRAMES, 1)
    assert whole.shape == (FRAMES, 3, SIDE, SIDE) and whole.dtype == torch.uint8
    assert torch.equal(source.read(3, 7, 5, 4), whole[7:24:4])
    other = PhotographsSource(PhotographsConfig(["astronaut.png", "coffee.png"]))
    assert torch.equal(other.read(PATHS + 3, 0, 2, 1), whole[:2])
    assert not torch.equal(source.read(4, 0, 2, 1), whole[:2])


def test_views_move_smoothly_rest_at_times_and_stay_inside() -> None:
    height, width = 300, 400
    paths = np.stack([photographs._path(np.random.default_rng(seed), (height, width)) for seed in range(40)])
    y, x, side, angle = np.moveaxis(paths, -1, 0)
    change = np.abs(np.diff(paths, axis=1))
    assert change[..., :2].max() < 0.15 * height
    jerk = np.abs(np.diff(paths, n=2, axis=1))
    assert jerk[..., :2].max() < 0.03 * height
    moves = change.sum(-1) > 1e-9
    assert 0.1 < 1 - moves.mean() < 0.5
    assert moves.any(1).mean() > 0.9
    for across, down in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        corner_x = x + side / 2 * (across * np.cos(angle) - down * np.sin(angle))
        corner_y = y + side / 2 * (across * np.sin(angle) + down * np.cos(angle))
        assert corner_x.min() > -2 and corner_x.max() < width + 2
        assert corner_y.min() > -2 and corner_y.max() < height + 2


def view(y: float, x: float, side: float, angle: float) -> NDArray[np.float64]:
    return np.array([[y, x, side, angle]])


def test_a_view_shows_its_part_of_the_photograph() -> None:
    picture = torch.zeros(3, 2 * SIDE, 3 * SIDE)
    picture[0] = torch.arange(2 * SIDE)[:, None] / 2
    picture[1] = torch.arange(3 * SIDE) / 3
    upright = photographs._render(picture, view(SIDE, 2 * SIDE, SIDE, 0.0))[0]
    cut = picture[:, SIDE // 2 : SIDE // 2 + SIDE, SIDE + SIDE // 2 : 2 * SIDE + SIDE // 2]
    assert (upright.float() - cut).abs().max() <= 1
    turned = photographs._render(picture, view(SIDE, 2 * SIDE, SIDE, np.pi / 2))[0]
    assert (turned.float() - cut.rot90(1, (1, 2))).abs().max() <= 1


def test_unknown_photographs_are_errors() -> None:
    with pytest.raises(ValueError, match=r"no photograph 'nobody\.png'"):
        PhotographsSource(PhotographsConfig(["nobody.png"]))
    with pytest.raises(ValueError, match="photographs is empty"):
        PhotographsConfig([])
