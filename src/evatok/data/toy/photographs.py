"""A folder of photographs and of cut-outs with alpha, out of Debian packages and scikit-image's.

All are shrunk, none is there twice, and who made each is in CREDITS.md.
"""

import hashlib
import io
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from evatok.data.scenes.pictures import shrunk
from evatok.data.toy.copyright_file import Terms, read_terms, terms_of
from evatok.data.toy.picture_packages import debian_files, debian_packages, resource_files
from evatok.utils.files import making_folder

logger = logging.getLogger(__name__)

FOLDERS = ("train", "validation", "cutouts/train", "cutouts/validation")
SHORT = 384  # shorter side to which larger photographs are shrunk, so that views hardly alias
SMALLEST = 160  # shorter side of the smallest photographs that are taken
CUTOUT = 256  # longer side to which cut-outs are shrunk
_SMALLEST_CUTOUT = 96  # longer side of the smallest cut-outs that are taken
_CLEAR = 0.1  # share of a cut-out that is transparent at least
_VALIDATION_EVERY = 10  # one picture in so many is for validation, on the average
_ALIKE = 5  # bits in which the hashes of different pictures differ at least, of 64

# Photographs of scikit-image.
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
# Which files of the packages are photographs; what else is in them is drawn, or there twice.
_PHOTOGRAPHS = {
    "gcompris-qt-data": [
        "*/categorization/resource/images/*",
        "*/clickgame/resource/sea?.webp",
        "*/details/resource/image/*_background.webp",
        "*/erase/resource/*",
        "*/explore_farm_animals/*",
        "*/explore_monuments/*",
        "*/explore_world_animals/*",
        "*/explore_world_music/*",
    ],
    "libjxl-testdata": ["*/wesaturate/500px/*_srgb8.png", "*/flower/flower.png", "*/hdr_room.png"],
    "lomiri-wallpapers-16.04": ["*.jpg"],
    "lomiri-wallpapers-20.04": ["*/Kleiber_*.jpg"],
    "mate-backgrounds": ["*/nature/*.jpg"],
    "plasma-workspace-wallpapers": [
        f"*/{name}/contents/images/*"
        for name in (
            "BytheWater",
            "ColdRipple",
            "ColorfulCups",
            "DarkestHour",
            "EveningGlow",
            "FallenLeaf",
            "Grey",
            "Kite",
            "OneStandsOut",
            "Path",
            "summer_1am",
        )
    ],
}
_CUTOUTS = {"tuxpaint-stamps-default": ["usr/share/tuxpaint/stamps/*.png"]}
# Where the copyright files' paths begin: an installed folder, and what it is in the package's source.
_SOURCES = {
    "gcompris-qt-data": ("gcompris/", ""),
    "libjxl-testdata": ("usr/share/libjxl-testdata/", ""),
    "lomiri-wallpapers-16.04": ("usr/share/backgrounds/", "16.04/"),
    "lomiri-wallpapers-20.04": ("usr/share/backgrounds/", "20.04/"),
    "mate-backgrounds": ("usr/share/backgrounds/mate/", ""),
    "plasma-workspace-wallpapers": ("usr/share/wallpapers/", ""),
    "tuxpaint-stamps-default": ("usr/share/tuxpaint/", ""),
}
# Paintings, drawings, signs, silhouettes, and mirror images of other pictures.
_LEFT_OUT = [
    *("*Gogh*", "*PortraitOfPereTanguy*", "*Eglise_dAuvers*", "*/umang_by_*", "*_mirror.*"),
    *("*/cartoon/*", "*/stamps/symbols/*", "*/stamps/clothes/*", "*/easter/*", "*/hanukkah/*", "*/halloween/*"),
    *("*/flags/*", "*/roadsigns/*", "*-outline.png", "*/pizza.png", "*/eye.png", "*/tooth.png", "*/highlighter.png"),
    *("*/mammals/hedgehog.png", "*/echidna.png", "*/sedan_police.png"),
]
_LEFT_OUT += [f"*/christmas/{name}.png" for name in ("Santa", "candy_cane", "star", "tree")]


@dataclass
class _Making:
    """The folder while it is made: what is in it so far, and what could not be read."""

    folder: Path
    # Package and terms (None where it has none to say), and the files under them with their origins.
    credits: dict[str, dict[Terms | None, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    broken: list[str] = field(default_factory=list)
    hashes: list[NDArray[np.bool_]] = field(default_factory=list)


def prepare_photographs(destination: Path, source: Path | None = None) -> dict[str, int]:
    """Make `destination` with train/, validation/ (.jpg), cutouts/train/, cutouts/validation/ (.png) and CREDITS.md.

    Nothing is done where `destination` exists already; where the work breaks off, it is not left behind. The same
    packages make the same folder.

    Args:
        destination: folder to be made.
        source: folder with the `.deb` files; without it, they are fetched with `apt-get download`.

    Returns:
        The number of pictures in each of `FOLDERS`.

    Raises:
        PackageError: a package cannot be fetched, is not in the folder, or is broken.
        ValueError: scikit-image is not installed.
    """
    if not destination.exists():
        with debian_packages([*_PHOTOGRAPHS, *_CUTOUTS], source) as packages, making_folder(destination) as folder:
            _make(folder, packages)
    return {part: sum(path.suffix in (".jpg", ".png") for path in (destination / part).glob("*")) for part in FOLDERS}


def _make(folder: Path, packages: list[Path]) -> None:
    for part in FOLDERS:
        (folder / part).mkdir(parents=True)
    making = _Making(folder)
    with tqdm(unit="picture") as progress:
        _add_scikit_image(making, progress)
        for package in packages:
            _add_package(making, package, progress)
    (folder / "CREDITS.md").write_text(_credits(making), encoding="utf-8")
    if making.broken:
        logger.warning("%d pictures are broken and left out: %s", len(making.broken), ", ".join(making.broken))


def _add_scikit_image(making: _Making, progress: tqdm) -> None:
    package = f"scikit-image {version('scikit-image')}"
    # Held-out ones first: where another picture is like one of them, it is the other that is left out.
    for name in (*VALIDATION, *TRAIN):
        path = picture_folder() / name
        part = "validation" if name in VALIDATION else "train"
        saved = _add_photograph(making, path.read_bytes(), f"scikit-image-{path.stem}", part)
        if saved:
            making.credits[package].setdefault(None, []).append(f"{saved}: skimage/data/{name}")
        progress.update()


def _add_package(making: _Making, package: Path, progress: tqdm) -> None:
    name, release = package.stem.split("_")[:2]
    terms: list[Terms] = []
    added = []
    for path, content in _files(package, name):
        if path == f"usr/share/doc/{name}/copyright":
            terms = read_terms(content.decode(errors="replace"))
            continue
        kept_as = f"{name}-{_short(path)}"
        part = "validation" if _tenth(kept_as) else "train"
        add = _add_cutout if name in _CUTOUTS else _add_photograph
        saved = add(making, content, kept_as, part)
        if saved:
            added.append((saved, path))
        progress.update()
    under = making.credits[f"{name} {release.replace('%3a', ':')}"]
    for saved, path in added:
        installed, in_source = _SOURCES[name]
        found = terms_of(in_source + path.removeprefix(installed), terms)
        under.setdefault(found, []).append(f"{saved}: {path}")


def _files(package: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """The wanted pictures of a package, and its copyright file."""
    copyright_file = f"usr/share/doc/{name}/copyright"
    for path, content in debian_files(package, lambda path: path == copyright_file or _wanted(path, name)):
        if path.endswith(".rcc"):
            yield from ((inner, data) for inner, data in resource_files(content) if _wanted(inner, name))
        else:
            yield path, content


def _wanted(path: str, package: str) -> bool:
    """Whether to take a picture, or to look into a resource file."""
    if PurePosixPath(path).suffix == ".rcc":
        return True
    patterns = (_PHOTOGRAPHS | _CUTOUTS)[package]
    if PurePosixPath(path).suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
        return False
    return any(fnmatchcase(path, p) for p in patterns) and not any(fnmatchcase(path, p) for p in _LEFT_OUT)


def _short(path: str) -> str:
    """A path as a file's name, without the folders that say nothing about the picture."""
    empty = {"usr", "share", "gcompris", "src", "activities", "resource", "images", "image", "contents", "backgrounds"}
    empty |= {"wallpapers", "tuxpaint", "stamps", "libjxl-testdata", "mate", "external"}
    return "-".join(part for part in PurePosixPath(path).with_suffix("").parts if part not in empty)


def _tenth(name: str) -> bool:
    """Whether a picture is held out: by its name alone, so that it stays so whatever else is there."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % _VALIDATION_EVERY == 0


def _add_photograph(making: _Making, content: bytes, name: str, part: str) -> str | None:
    image = _open(making, content, name)
    if image is None or min(image.size) < SMALLEST:
        return None
    image = image.convert("RGB").resize(shrunk(image.size, SHORT / min(image.size)), Image.Resampling.LANCZOS)
    if not _is_new(making, image):
        return None
    return _save(making, image, f"{part}/{name}.jpg")


def _add_cutout(making: _Making, content: bytes, name: str, part: str) -> str | None:
    image = _open(making, content, name)
    if image is None or max(image.size) < _SMALLEST_CUTOUT:
        return None
    image = image.convert("RGBA").resize(shrunk(image.size, CUTOUT / max(image.size)), Image.Resampling.LANCZOS)
    if np.mean(np.asarray(image)[..., 3] < 128) < _CLEAR or not _is_new(making, image):
        return None
    return _save(making, image, f"cutouts/{part}/{name}.png")


def _open(making: _Making, content: bytes, name: str) -> Image.Image | None:
    """The picture, upright; None, and a note of it, if it is broken."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        making.broken.append(name)
        return None


def _is_new(making: _Making, image: Image.Image) -> bool:
    """Whether no picture like it is there yet; then it is remembered. What is clear counts as grey."""
    ground = Image.new("RGBA", image.size, (128, 128, 128, 255))
    small = Image.alpha_composite(ground, image.convert("RGBA")).convert("L").resize((8, 8), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32)
    found = (pixels > pixels.mean()).ravel()
    if any(np.count_nonzero(found != other) < _ALIKE for other in making.hashes):
        return False
    making.hashes.append(found)
    return True


def _save(making: _Making, image: Image.Image, path: str) -> str:
    image.info.clear()  # no profiles or places
    image.save(making.folder / path, quality=95)
    return path


def _credits(making: _Making) -> str:
    """The text of CREDITS.md: package by package, terms by terms."""
    lines = ["# Where these pictures come from", "", "They were shrunk, and nothing else was changed in them."]
    for package, by_terms in making.credits.items():
        lines += ["", f"## {package}"]
        for terms, pictures in by_terms.items():
            lines += ["", *_terms_lines(terms), "", *(f"- {picture}" for picture in pictures)]
    return "\n".join(lines) + "\n"


def _terms_lines(terms: Terms | None) -> list[str]:
    if terms is None:
        return ["The package does not say it picture by picture: see its licence file."]
    stated = [f"Licence: {terms.licence}", f"Copyright: {terms.copyright}", *filter(None, [terms.comment])]
    return ["  \n".join(stated)]  # two spaces: a new line


def picture_folder() -> Path:
    """Folder of the picture files in scikit-image's package; ValueError where it is not installed."""
    spec = find_spec("skimage")  # found, not imported: importing it takes a second and is not needed
    if spec is None or spec.origin is None:
        raise ValueError("photographs need the package scikit-image: pip install 'evatok[data]'")
    return Path(spec.origin).parent / "data"
