"""Debian packages as archives of pictures: fetched by apt-get, read without installing them.

A `.deb` is an `ar` archive with a tar file in it; GCompris keeps its pictures in that, in resource files of Qt.
"""

import shutil
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from evatok.utils.packages import PackageError

_DIRECTORY, _COMPRESSED = 2, 1 | 4  # flags of an entry of a resource file


@contextmanager
def debian_packages(names: Sequence[str], folder: Path | None) -> Iterator[list[Path]]:
    """The `.deb` files of these packages: those in `folder`, or, without one, fetched and removed afterwards.

    Raises:
        PackageError: a package is not in the folder, or cannot be fetched; it says what to do.
    """
    if folder is not None:
        yield [_find(folder, name) for name in names]
        return
    with tempfile.TemporaryDirectory(prefix="evatok-") as temporary:
        _download(names, temporary)
        yield [_find(Path(temporary), name) for name in names]


def debian_files(package: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Path and contents of every ordinary file of a `.deb` whose path is wanted, in the package's order.

    Raises:
        PackageError: the file is no Debian package, or broken.
    """
    try:
        with _data_tar(package) as tar:
            for member in tar:
                path = member.name.removeprefix("./")
                content = tar.extractfile(member) if member.isreg() and wanted(path) else None
                if content is not None:
                    yield path, content.read()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise PackageError(f"{package} is not a whole Debian package: {error}") from error


def resource_files(resources: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and contents of every file that is stored uncompressed in a resource file of Qt (`.rcc`).

    Raises:
        PackageError: these are not such resources, or not all of them.
    """
    try:
        yield from _resource_files(resources)
    except (struct.error, UnicodeDecodeError, RecursionError) as error:
        raise PackageError(f"a resource file of Qt is broken: {error}") from error


def _find(folder: Path, name: str) -> Path:
    found = sorted(folder.glob(f"{name}_*.deb"))
    if not found:
        raise PackageError(f"there is no {name}_*.deb in {folder}; fetch it there with: apt-get download {name}")
    return found[-1]


def _download(names: Sequence[str], folder: str) -> None:
    command = ["apt-get", "download", *names]
    advice = f"run '{' '.join(command)}' on a Debian machine with a network, and name the folder with --from"
    if shutil.which("apt-get") is None:
        raise PackageError(f"there is no apt-get here to fetch the packages with; {advice}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " / ".join(line.strip() for line in done.stderr.strip().splitlines()[-3:])
        raise PackageError(f"apt-get could not fetch the packages: {said}; {advice}")


@contextmanager
def _data_tar(package: Path) -> Iterator[tarfile.TarFile]:
    """The tar file within a package, as a stream."""
    with package.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise PackageError(f"{package} is not a Debian package")
        while header := file.read(60):
            name, size = header[:16].rstrip(b" /"), int(header[48:58])
            if name.startswith(b"data.tar"):
                break
            file.seek(size + size % 2, 1)  # members begin at even places
        else:
            raise PackageError(f"{package} has no data in it")
        if name.endswith(b".zst"):  # which Python reads from 3.14 on
            with _unpacked_by_dpkg(package) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                yield tar
        else:
            with tarfile.open(fileobj=file, mode="r|*") as tar:
                yield tar


@contextmanager
def _unpacked_by_dpkg(package: Path) -> Iterator[IO[bytes]]:
    if shutil.which("dpkg-deb") is None:
        raise PackageError(f"{package} is compressed with zstd, which needs dpkg-deb to read")
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout


def _resource_files(resources: bytes) -> Iterator[tuple[str, bytes]]:
    magic, version, tree, data, names = struct.unpack_from(">4s4I", resources)
    if magic != b"qres":
        raise PackageError("this is not a resource file of Qt")
    entry_size = 14 if version == 1 else 22  # later ones end in a time

    def text(offset: int) -> str:
        (length,) = struct.unpack_from(">H", resources, names + offset)
        start = names + offset + 6  # after the length and a hash
        return resources[start : start + 2 * length].decode("utf-16-be")

    def files(index: int, folder: str) -> Iterator[tuple[str, bytes]]:
        place = tree + index * entry_size
        name, flags, count, first = struct.unpack_from(">IHII", resources, place)
        path = f"{folder}{text(name)}" if index else ""  # the root's name means nothing
        if flags & _DIRECTORY:
            for child in range(first, first + count):
                yield from files(child, f"{path}/" if path else "")
        elif not flags & _COMPRESSED:
            (offset,) = struct.unpack_from(">I", resources, place + 10)
            (size,) = struct.unpack_from(">I", resources, data + offset)
            start = data + offset + 4
            yield path, resources[start : start + size]

    yield from files(0, "")
