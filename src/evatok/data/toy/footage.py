"""Short recordings of a real camera, from the public repository intel-iot-devkit/sample-videos.

They are licensed CC-BY 4.0: `CREDIT` belongs wherever something made from them is shown.
"""

import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from evatok.data.toy.training_video import Counts, count_videos, size_at_height, write_training_video
from evatok.utils.files import making_folder
from evatok.utils.packages import PackageError
from evatok.video.reading import VideoReader, probe

REPOSITORY = "https://github.com/intel-iot-devkit/sample-videos"
CREDIT = f"Sample videos of intel-iot-devkit, {REPOSITORY}, CC-BY 4.0"

_SIGNS_FOR_TRAINING = (
    *("again", "bird", "book", "brother", "eat", "help", "hungry", "learn"),
    *("milk", "night", "no", "please", "school", "sister", "sorry"),
)
_SIGNS_HELD_OUT = ("student", "thanks", "walk", "want", "yes")
# Paths in the repository.
FILES = {
    "train": (
        "bottle-detection.mp4",
        "car-detection.mp4",
        *(f"asl_gestures/{sign}.mkv" for sign in _SIGNS_FOR_TRAINING),
    ),
    "validation": (
        "one-by-one-person-detection.mp4",
        *(f"asl_gestures/{sign}.mkv" for sign in _SIGNS_HELD_OUT),
    ),
}
_SECONDS = 60.0  # without an answer, after which fetching is given up


def prepare_footage(destination: Path, source: Path | None = None, height: int = 180) -> dict[str, Counts]:
    """Shrink the recordings into `destination`/train and /validation, and write CREDITS.md beside them.

    Nothing is done where `destination` exists already; where the work breaks off, it is not left behind.

    Args:
        destination: folder to be made.
        source: folder in which, or below which, the repository's files are; without it, they are fetched.
        height: of the videos in pixels, even; their widths follow from the recordings' aspect ratios.

    Returns:
        What `train` and `validation` hold.

    Raises:
        ValueError: `height` is not an even number of pixels.
        PackageError: a file is not in the folder, or cannot be fetched.
    """
    if not destination.exists():
        with _recordings(source) as recordings, making_folder(destination) as folder:
            _shrink(recordings, folder, height)
            (folder / "CREDITS.md").write_text(_credits(), encoding="utf-8")
    return count_videos(destination)


@contextmanager
def _recordings(source: Path | None) -> Iterator[dict[str, Path]]:
    """Where each of the repository's files is."""
    names = [name for part in FILES.values() for name in part]
    if source is not None:
        yield {name: _find(source, name) for name in names}
        return
    with tempfile.TemporaryDirectory(prefix="evatok-") as folder:
        fetched = {name: Path(folder) / PurePosixPath(name).name for name in names}
        for name, path in tqdm(fetched.items(), unit="file"):
            _fetch(name, path)
        yield fetched


def _find(folder: Path, name: str) -> Path:
    file = PurePosixPath(name).name
    found = min(folder.rglob(file), default=None)
    if found is None:
        raise PackageError(f"there is no {file} in {folder}; put the files of {REPOSITORY} there")
    return found


def _fetch(name: str, path: Path) -> None:
    try:
        with (
            urllib.request.urlopen(f"{REPOSITORY}/raw/master/{name}", timeout=_SECONDS) as answer,
            path.open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
    except OSError as error:
        raise PackageError(
            f"could not fetch {name}: {error}; where there is a network, run 'git clone {REPOSITORY}', "
            "and name the folder with --from"
        ) from error


def _shrink(recordings: dict[str, Path], folder: Path, height: int) -> None:
    with tqdm(total=len(recordings), unit="video") as progress:
        for part, names in FILES.items():
            (folder / part).mkdir()
            for name in names:
                path = recordings[name]
                with VideoReader(path, size=size_at_height(path, height)) as reader:
                    frames = (frame for frame, _ in reader)
                    write_training_video(folder / part / f"{path.stem}.mp4", frames, probe(path).fps)
                progress.update()


def _credits() -> str:
    lines = ["# Where these videos come from", "", f"{CREDIT}. They were shrunk and encoded anew.", ""]
    for part, names in FILES.items():
        lines += [f"- {part}/{PurePosixPath(name).stem}.mp4: {name}" for name in names]
    return "\n".join(lines) + "\n"
