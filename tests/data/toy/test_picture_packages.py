"""Debian packages and Qt's resource files, read from archives made here; no network."""

import io
import random
import struct
import tarfile
import zlib
from pathlib import Path

import pytest

from evatok.data.toy.copyright_file import read_terms, terms_of
from evatok.data.toy.picture_packages import debian_files, debian_packages, resource_files
from evatok.utils.packages import PackageError

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2020 Everybody
License: GPL-2+

Files: nature/*.png
       sky.jpg
Copyright: 2001, Ann
           2002, Bob
License: CC0
 Do what you like.
Comment: https://example.org/sky

License: GPL-2+
 A long text, about
 .
 Files: and what not.
"""


def make_deb(path: Path, files: dict[str, bytes], compression: str = "xz") -> Path:
    """A Debian package as `ar` would make it, with members of odd size."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=f"w:{compression}") as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    members = {"debian-binary": b"2.0", "control.tar.xz": b"odd", f"data.tar.{compression}": data.getvalue()}
    archive = b"!<arch>\n"
    for name, content in members.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        archive += content + b"\n" * (len(content) % 2)
    path.write_bytes(archive)
    return path


def make_rcc(folder: str, files: dict[str, bytes], compressed: bytes = b"") -> bytes:
    """Resources of version 3: one folder with files, and one that is compressed."""
    texts, data, names, tree = [folder, *files, "packed"], b"", b"", b""
    places = []
    for text in texts:
        places.append(len(names))
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
    tree += struct.pack(">IHIIQ", 0, 2, 1, 1, 0)  # the root, whose one child is entry 1
    tree += struct.pack(">IHIIQ", places[0], 2, len(files) + 1, 2, 0)
    contents = [*((content, 0) for content in files.values()), (zlib.compress(compressed), 1)]
    for place, (content, flags) in zip(places[1:], contents, strict=True):
        tree += struct.pack(">IHHHIQ", place, flags, 0, 0, len(data), 0)
        data += struct.pack(">I", len(content)) + content
    start = 24
    head = struct.pack(">4s5I", b"qres", 3, start, start + len(tree), start + len(tree) + len(data), 0)
    return head + tree + data + names


@pytest.mark.parametrize("compression", ["xz", "gz"])
def test_files_of_a_package(tmp_path: Path, compression: str) -> None:
    files = {"usr/share/a.png": b"first", "usr/share/doc/b": b"second one"}
    package = make_deb(tmp_path / "a_1_all.deb", files, compression)
    assert dict(debian_files(package, lambda path: True)) == files
    assert dict(debian_files(package, lambda path: path.endswith("b"))) == {"usr/share/doc/b": b"second one"}


def test_what_is_no_package_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a_1_all.deb"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(PackageError, match=r"a_1_all\.deb is not a Debian package"):
        list(debian_files(path, lambda path: True))
    whole = make_deb(path, {"a": random.Random(0).randbytes(9999)}).read_bytes()
    path.write_bytes(whole[:-5000])
    with pytest.raises(PackageError, match="not a whole Debian package"):
        list(debian_files(path, lambda path: True))
    path.write_bytes(whole[:72])
    with pytest.raises(PackageError, match="no data in it"):
        list(debian_files(path, lambda path: True))


def test_resources_by_their_paths() -> None:
    files = {"one.webp": b"1111", "two.jpg": b"22"}
    resources = make_rcc("images", files, compressed=b"text")
    assert dict(resource_files(resources)) == {f"images/{name}": content for name, content in files.items()}
    for broken in (b"", resources[:60], b"else" + resources[4:]):
        with pytest.raises(PackageError, match="resource file"):
            list(resource_files(broken))


def test_packages_out_of_a_folder(tmp_path: Path) -> None:
    for name in ("some_1_all.deb", "some-other_1_all.deb"):
        (tmp_path / name).touch()
    with debian_packages(["some"], tmp_path) as found:
        assert found == [tmp_path / "some_1_all.deb"]
    with pytest.raises(PackageError, match="apt-get download more"), debian_packages(["some", "more"], tmp_path):
        pass


def test_packages_by_apt_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = r"no apt-get here .* 'apt-get download some' .* --from"
    with pytest.raises(PackageError, match=said), debian_packages(["some"], None):
        pass
    tool = tmp_path / "apt-get"
    tool.write_text(
        '#!/bin/sh\n[ "$1 $2" = "download some" ] && : > "${2}_1_all.deb" || { echo no network >&2; exit 1; }\n'
    )
    tool.chmod(0o755)
    with debian_packages(["some"], None) as [package]:
        assert package.exists()
    assert not package.exists()
    said = "no network; run 'apt-get download else'"
    with pytest.raises(PackageError, match=said), debian_packages(["else"], None):
        pass


def test_terms_are_the_last_that_fit() -> None:
    terms = read_terms(COPYRIGHT)
    assert [found.patterns for found in terms] == [("*",), ("nature/*.png", "sky.jpg")]
    for path in ("nature/tree.png", "nature/tree.webp", "sky.webp"):
        found = terms_of(path, terms)
        assert found is not None
        assert (found.licence, found.copyright) == ("CC0", "2001, Ann 2002, Bob")
        assert found.comment == "https://example.org/sky"
    other = terms_of("other/sky.jpg", terms)
    assert other is not None and other.copyright == "2020 Everybody"
    assert terms_of("other/sky.jpg", terms[1:]) is None
