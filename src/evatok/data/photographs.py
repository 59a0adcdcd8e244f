"""Photographs panned and zoomed over: videos with real texture and smooth motion.

A path over a photograph is a function of the photograph's name and the path's number: centre, zoom and angle
of the view move between a few random stations, or rest there. Only frames that are asked for are rendered.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from evatok.data.clip_source import VideoEntry, check_range
from evatok.data.folders import check_weight

TRAIN = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
)
VALIDATION = ("chelsea.png", "coffee.png", "rocket.jpg")

PATHS = 64  # paths over each photograph
FRAMES = 64  # frames of a path
SIDE = 192  # height and width of the frames
SHORT = 384  # shorter side to which larger photographs are shrunk, so that views hardly alias
STATIONS = 5  # a path goes through this many placements of the view
REST = 0.25  # chance that the view stays where it is until the next station
VIEW = (0.3, 0.8)  # side of the view, as a share of the photograph's shorter side
REACH = 0.25  # how far the view moves between stations, in photograph's shorter sides, at most
TILT = math.radians(8)  # largest angle of the view


@dataclass(frozen=True)
class PhotographsConfig:
    """Paths over photographs of scikit-image's package.

    Args:
        photographs: names of picture files in `skimage/data`, or "train" or "validation" for the lists
            `TRAIN` and `VALIDATION` of this module, which have no photograph in common.
        weight: share of training clips, relative to the other sources' weights.
    """

    photographs: Literal["train", "validation"] | list[str]
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight(self.weight)
        if not self.names:
            raise ValueError('photographs is empty: name some, or "train" or "validation"')

    @property
    def names(self) -> tuple[str, ...]:
        """The photographs' file names."""
        if isinstance(self.photographs, str):
            return {"train": TRAIN, "validation": VALIDATION}[self.photographs]
        return tuple(self.photographs)


class PhotographsSource:
    """Videos of views that move over photographs, photograph by photograph; the photographs are the classes.

    Raises:
        ValueError: scikit-image is not installed, or has no such photograph.
    """

    name = "photographs"

    def __init__(self, config: PhotographsConfig) -> None:
        folder = picture_folder()
        for name in config.names:
            if not (folder / name).is_file():
                raise ValueError(f"scikit-image has no photograph {name!r} in its package")
        self.classes = tuple(Path(name).stem for name in config.names)
        self._paths = [folder / name for name in config.names]

    def __len__(self) -> int:
        return len(self._paths) * PATHS

    def describe(self, index: int) -> VideoEntry:
        """Path `index`; its key is "photograph/number"."""
        photograph, number = self._photograph_and_number(index)
        return VideoEntry(f"{self.classes[photograph]}/{number}", photograph, FRAMES, (SIDE, SIDE))

    def identities(self, index: int) -> tuple[str, ...]:
        """The photograph: all paths over it show the same."""
        photograph, _ = self._photograph_and_number(index)
        return (f"photograph:{self._paths[photograph].name}",)

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of path `index`: uint8 (count, 3, 192, 192)."""
        entry = self.describe(index)
        check_range(entry, start, count, step)
        photograph, number = self._photograph_and_number(index)
        picture = _read_picture(self._paths[photograph])
        rng = np.random.default_rng([number, *self._paths[photograph].name.encode()])
        views = _path(rng, picture.shape[-2:])[start : start + (count - 1) * step + 1 : step]
        return _render(picture, views)

    def _photograph_and_number(self, index: int) -> tuple[int, int]:
        return divmod(range(len(self))[index], PATHS)


def picture_folder() -> Path:
    """Folder of the picture files in scikit-image's package; ValueError where it is not installed."""
    spec = find_spec("skimage")  # found, not imported: importing it takes a second and is not needed
    if spec is None or spec.origin is None:
        raise ValueError("photographs need the package scikit-image: pip install 'evatok[data]'")
    return Path(spec.origin).parent / "data"


@lru_cache(maxsize=32)
def _read_picture(path: Path) -> Tensor:
    """A photograph, shrunk to `SHORT` if larger: float32 (3, H, W) in [0, 255]."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    factor = min(SHORT / min(image.size), 1.0)
    size = round(image.width * factor), round(image.height * factor)
    pixels = np.array(image.resize(size, Image.Resampling.LANCZOS), np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _path(rng: np.random.Generator, size: tuple[int, ...]) -> NDArray[np.float64]:
    """The view in every frame, (FRAMES, 4): centre y, x and side in pixels, angle in radians."""
    height, width = size
    short = min(height, width)
    stations = np.empty((STATIONS, 4))
    for station in range(STATIONS):
        if station and rng.random() < REST:
            stations[station] = stations[station - 1]
            continue
        side, angle = short * rng.uniform(*VIEW), rng.uniform(-TILT, TILT)
        centre = rng.uniform(0, 1, 2) * (height, width)
        if station:
            centre = stations[station - 1, :2] + rng.uniform(-REACH, REACH, 2) * short
        margin = side / 2 * (math.cos(angle) + abs(math.sin(angle)))  # keeps the tilted view inside
        stations[station] = (*np.clip(centre, margin, (height - margin, width - margin)), side, angle)
    # A smooth ease from each station to the next: the view starts and stops gently.
    where = np.linspace(0, STATIONS - 1, FRAMES)
    before = np.minimum(where.astype(int), STATIONS - 2)
    part = (where - before)[:, None]
    ease = part * part * (3 - 2 * part)
    return stations[before] * (1 - ease) + stations[before + 1] * ease


def _render(picture: Tensor, views: NDArray[np.float64]) -> Tensor:
    """Views of a photograph: uint8 (len(views), 3, SIDE, SIDE)."""
    height, width = picture.shape[-2:]
    y, x, side, angle = torch.from_numpy(views).float()[:, None, None].unbind(-1)
    # From the view's centre, in pixels of the photograph.
    along = ((torch.arange(SIDE) + 0.5) / SIDE - 0.5) * side
    down = along.mT
    cos, sin = torch.cos(angle), torch.sin(angle)
    columns = 2 / width * (x + cos * along - sin * down) - 1
    rows = 2 / height * (y + sin * along + cos * down) - 1
    frames = F.grid_sample(
        picture.expand(len(views), -1, -1, -1),
        torch.stack([columns, rows], -1),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return frames.add_(0.5).clamp_(0, 255).byte()
