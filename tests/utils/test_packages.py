"""Files out of packages: real archives, real pip, no network."""

import errno
import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evatok.data.prepare.sharding import plan_shards
from evatok.pretrained.lpips import weights_file
from evatok.utils.packages import Package, PackageError, cache_folder, package_file, package_members

WHEEL = "evatok_sample-1.0-py3-none-any.whl"
SDIST = "evatok_sample-1.0.tar.gz"
NESTED = "docs/media.zip!inside/film.bin"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a pip that finds only what lies in ``tmp_path / "links"``."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("EVATOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return tmp_path / "cache"


def make_wheel(folder: Path) -> Package:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("sample/data.bin", b"from the wheel")
        info = "evatok_sample-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: evatok-sample\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return package_of(folder / WHEEL)


def make_sdist(folder: Path) -> Package:
    folder.mkdir(parents=True, exist_ok=True)
    media = io.BytesIO()
    with zipfile.ZipFile(media, "w") as file:
        file.writestr("inside/film.bin", b"from the zip in the sdist")
    with tarfile.open(folder / SDIST, "w:gz") as tar:
        for name, content in (("sample/data.bin", b"from the sdist"), ("docs/media.zip", media.getvalue())):
            entry = tarfile.TarInfo(f"evatok_sample-1.0/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return package_of(folder / SDIST)


def package_of(archive: Path) -> Package:
    return Package("evatok-sample", "1.0", archive.name, hashlib.sha256(archive.read_bytes()).hexdigest(), 1)


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_pip_fetches_a_member_once_and_only_that_stays(cache: Path) -> None:
    package = make_wheel(cache.parent / "links")
    file = package_file(package, "sample/data.bin")
    assert file.read_bytes() == b"from the wheel"
    assert files_under(cache) == ["packages/evatok-sample-1.0/sample/data.bin"]
    (cache.parent / "links" / WHEEL).unlink()
    assert package_file(package, "sample/data.bin") == file


def test_an_archive_put_into_the_cache_is_used_and_left_there(cache: Path) -> None:
    package = make_sdist(cache / "archives")
    assert package_file(package, "sample/data.bin").read_bytes() == b"from the sdist"
    assert package_file(package, NESTED).read_bytes() == b"from the zip in the sdist"
    assert (cache / "archives" / SDIST).exists()


def test_members_for_a_moment_leave_nothing(cache: Path) -> None:
    package = make_sdist(cache / "archives")
    with package_members(package, ["sample/data.bin", NESTED]) as files:
        assert [file.read_bytes() for file in files] == [b"from the sdist", b"from the zip in the sdist"]
    assert files_under(cache) == [f"archives/{SDIST}"]


def test_a_wrong_checksum_is_refused_and_leaves_nothing(cache: Path) -> None:
    made = make_wheel(cache.parent / "links")
    wrong = Package(made.name, made.version, made.archive, "0" * 64, 1)
    with pytest.raises(PackageError, match=made.sha256):
        package_file(wrong, "sample/data.bin")
    assert files_under(cache) == []

    (cache / "archives").mkdir()
    shutil.copy(cache.parent / "links" / WHEEL, cache / "archives")
    with pytest.raises(PackageError, match=made.sha256):
        package_file(wrong, "sample/data.bin")
    assert files_under(cache) == [f"archives/{WHEEL}"]


def test_without_a_network_the_error_says_what_to_do(cache: Path) -> None:
    package = Package("evatok-sample", "1.0", SDIST, "1" * 64, 1)
    with pytest.raises(PackageError) as raised:
        package_file(package, "sample/data.bin")
    said = str(raised.value)
    assert "-m pip download" in said
    assert "--no-binary evatok-sample" in said
    assert "evatok-sample==1.0" in said
    assert f"put {SDIST} (SHA-256 {'1' * 64}) into {cache / 'archives'}" in said
    assert files_under(cache) == []


@pytest.mark.parametrize("member", ["sample/other.bin", "docs/media.zip!other", "sample/data.bin!other"])
def test_a_member_that_is_not_there_is_named(cache: Path, member: str) -> None:
    package = make_sdist(cache / "archives")
    with pytest.raises(PackageError, match=member):
        package_file(package, member)
    assert files_under(cache) == [f"archives/{SDIST}"]


def test_many_may_ask_at_once(cache: Path) -> None:
    package = make_sdist(cache / "archives")
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: package_file(package, NESTED), range(16)))
    assert {file.read_bytes() for file in files} == {b"from the zip in the sdist"}
    assert files_under(cache) == [
        f"archives/{SDIST}",
        "packages/evatok-sample-1.0/docs/media.zip/inside/film.bin",
    ]


def test_a_message_says_what_is_fetched(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PackageError):
        package_file(Package("evatok-sample", "1.0", WHEEL, "1" * 64, 7), "sample/data.bin")
    assert "evatok-sample 1.0" in caplog.text
    assert "7 MB" in caplog.text


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVATOK_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("EVATOK_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "evatok"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "evatok"
    monkeypatch.setenv("EVATOK_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"


@pytest.mark.parametrize("cache", ["/proc/nowhere", "/dev/null", "/dev/null/below"])
def test_a_cache_that_cannot_be_written_is_named_and_how_to_have_another(
    cache: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVATOK_CACHE", cache)
    said = rf"^cannot write into the cache, {cache}.*: .+; EVATOK_CACHE can name another folder$"
    for work in (
        lambda: package_file(Package("evatok-sample", "1.0", WHEEL, "1" * 64, 1), "sample/data.bin"),
        lambda: weights_file("alex"),
        lambda: plan_shards(tmp_path, str(tmp_path / "shards")),
    ):
        with pytest.raises(OSError, match=said) as caught:
            work()
        assert caught.value.errno is None


def test_a_cache_without_a_home_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("EVATOK_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(OSError, match="EVATOK_CACHE can name a folder"):
        cache_folder()


def test_a_disk_that_is_full_is_told_with_what_was_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*files: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    package = make_sdist(cache / "archives")
    monkeypatch.setattr("evatok.utils.packages.shutil.copyfileobj", full)
    with pytest.raises(OSError, match=rf"^cannot unpack sample/data\.bin of {SDIST} into {cache}/.*: No space left"):
        package_file(package, "sample/data.bin")
