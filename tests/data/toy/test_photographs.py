"""A folder of photographs out of small packages made here; no network."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evatok.cli import FAILED, main
from evatok.data.toy import photographs as module
from evatok.data.toy.photographs import FOLDERS, prepare_photographs
from evatok.utils.packages import PackageError
from tests.data.toy.test_picture_packages import make_deb, make_rcc

TERMS = (
    "Files: *\nCopyright: The Makers\nLicense: GPL-2+\n\nFiles: src/activities/erase/*\nCopyright: Eve\nLicense: CC0\n"
)
GCOMPRIS = "src/activities/erase/resource"


def picture(seed: int, size: tuple[int, int], kind: str = "PNG", clear: float = 0.0) -> bytes:
    """A picture of random patches, whose upper part is clear."""
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(patches).resize(size, Image.Resampling.NEAREST)
    if clear:
        image.putalpha(255)
        image.paste((0, 0, 0, 0), (0, 0, size[0], round(size[1] * clear)))
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two packages, and a scikit-image of four photographs."""
    monkeypatch.setattr(module, "TRAIN", ("camera.png",))
    own = tmp_path / "skimage"
    own.mkdir()
    for seed, name in enumerate((*module.TRAIN, *module.VALIDATION)):
        (own / name).write_bytes(picture(seed, (200, 200)))
    monkeypatch.setattr(module, "picture_folder", lambda: own)
    monkeypatch.setattr(module, "_PHOTOGRAPHS", {"gcompris-qt-data": ["*/erase/resource/*"]})
    folder = tmp_path / "packages"
    folder.mkdir()
    files = {f"{seed}.webp": picture(seed, (1000, 500), "WEBP") for seed in range(10, 40)}
    files |= {
        "small.webp": picture(50, (400, 159), "WEBP"),
        "again.webp": picture(10, (700, 350), "WEBP"),
        "held_out.webp": picture(2, (300, 300), "WEBP"),
        "broken.webp": files["10.webp"][:400],
        "a.ogg": b"sound",
    }
    doc = "usr/share/doc/{0}/copyright"
    in_resources = {"usr/share/gcompris-qt/rcc/erase.rcc": make_rcc(f"gcompris/{GCOMPRIS}", files)}
    name = "gcompris-qt-data"
    make_deb(folder / f"{name}_3%3a1_all.deb", {doc.format(name): TERMS.encode(), **in_resources})
    name = "tuxpaint-stamps-default"
    stamps = {f"animals/{seed}.png": picture(seed, (500, 250), clear=0.5) for seed in range(60, 90)}
    stamps |= {
        "animals/cartoon/a.png": picture(91, (200, 200), clear=0.5),
        "animals/opaque.png": picture(92, (200, 200), clear=0.05),
        "animals/drawn.svg": b"<svg/>",
    }
    stamps = {f"usr/share/tuxpaint/stamps/{path}": content for path, content in stamps.items()}
    make_deb(folder / f"{name}_1_all.deb", {**stamps, doc.format(name): TERMS.encode()})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_photographs_and_cutouts(packages: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    destination = tmp_path / "made" / "photographs"
    counts = prepare_photographs(destination, packages)
    written = contents(destination)
    assert counts == {part: len(list((destination / part).glob("*.[jp][pn]g"))) for part in FOLDERS}
    assert counts["train"] + counts["validation"] == 4 + 30
    assert counts["cutouts/train"] + counts["cutouts/validation"] == 30
    assert all(counts[part] for part in FOLDERS)
    assert {f"validation/scikit-image-{Path(name).stem}.jpg" for name in module.VALIDATION} <= set(written)
    names = " ".join(written)
    for left_out in ("small", "again", "held_out", "broken", "cartoon", "opaque", "drawn"):
        assert left_out not in names
    assert "1 pictures are broken and left out: gcompris-qt-data-erase-broken" in caplog.text
    for name in written:
        if name.endswith(".jpg"):
            with Image.open(destination / name) as image:
                assert image.mode == "RGB" and image.size == ((200, 200) if "scikit" in name else (768, 384))
        elif name.endswith(".png"):
            with Image.open(destination / name) as image:
                assert image.mode == "RGBA" and image.size == (256, 128)
                assert not np.asarray(image)[:60, :, 3].any() and np.asarray(image)[-60:, :, 3].all()
    assert [path.name for path in destination.parent.iterdir()] == ["photographs"]


def test_credits_name_every_picture(packages: Path, tmp_path: Path) -> None:
    prepare_photographs(tmp_path / "made", packages)
    text = (tmp_path / "made" / "CREDITS.md").read_text()
    pictures = [name for name in contents(tmp_path / "made") if name != "CREDITS.md"]
    assert all(text.count(f"- {name}: ") == 1 for name in pictures)
    of_gcompris = text.partition("## gcompris-qt-data 3:1")[2].partition("## ")[0]
    assert "Licence: CC0  \nCopyright: Eve\n" in of_gcompris and "The Makers" not in of_gcompris
    assert f"gcompris-qt-data-erase-11.jpg: gcompris/{GCOMPRIS}/11.webp" in of_gcompris
    assert "Licence: GPL-2+  \nCopyright: The Makers\n" in text.partition("## tuxpaint-stamps-default 1")[2]


def test_the_same_packages_make_the_same_folder(packages: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        prepare_photographs(tmp_path / name, packages)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_folder_is_made_whole_or_not_at_all(packages: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    assert not any(prepare_photographs(there, packages).values())
    assert list(there.iterdir()) == []
    broken = packages / "tuxpaint-stamps-default_1_all.deb"
    broken.write_bytes(broken.read_bytes()[:-2000])
    with pytest.raises(PackageError, match="tuxpaint"):
        prepare_photographs(tmp_path / "made" / "photographs", packages)
    assert not (tmp_path / "made").exists()


def test_the_command(packages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = str(tmp_path / "made")
    assert main(["data", "photographs", made, "--from", str(packages)]) == 0
    assert f"{made}/cutouts/validation: " in capsys.readouterr().out
    assert main(["data", "photographs", str(packages)]) == FAILED
    assert "exists and holds no photographs" in capsys.readouterr().err
    assert main(["data", "photographs", str(tmp_path / "other"), "--from", made]) == FAILED
    assert "apt-get download gcompris-qt-data" in capsys.readouterr().err
