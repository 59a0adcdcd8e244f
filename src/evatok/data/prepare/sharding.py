"""Writing shards: videos of a folder, untouched, in tar files that webdataset reads, with a manifest of where they lie.

What will be written is planned to the byte beforehand. So its size is known, a run that was killed keeps the
shards that it had finished, and the same videos give the same bytes.
"""

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from evatok.data.manifest import (
    SHARDS_MANIFEST,
    UNFINISHED_MANIFEST,
    Manifest,
    ManifestRow,
    is_manifest,
    read_manifest,
    write_manifest,
)
from evatok.data.prepare.scanning import DEFAULT, ScanConfig, scan
from evatok.data.storage import Place
from evatok.utils.packages import made_in_cache
from evatok.video.sources import VideoError

SHARD_SIZE = 2**30
BLOCK = tarfile.BLOCKSIZE  # of a tar file, to which everything in it is padded
END = bytes(2 * BLOCK)
COPIED = 2**20  # bytes at a time
LONGEST_KEY = 64  # characters, so that a name fits into a tar header


@dataclass(frozen=True)
class Shard:
    """One tar file to be: its name, its bytes, and the first of its videos in the plan and the one after the last."""

    name: str
    size: int
    first: int
    after: int


@dataclass(frozen=True)
class ShardPlan:
    """Shards to be, of the good videos of a folder.

    Args:
        folder: of the videos.
        place: of the shards.
        videos: that will be written, in the order of the shards, with their places in them.
        shards: what they are written to.
        bad: the videos that are left out, with their reasons.
        kept: names of the shards that are there already.
        journal: of the scan that this began with, if it did.
    """

    folder: Path
    place: Place
    videos: Manifest
    shards: tuple[Shard, ...]
    bad: Manifest
    kept: frozenset[str] = frozenset()
    journal: Path | None = None

    @property
    def manifest(self) -> Manifest:
        """The videos in order of their paths, which is that of the folder's own manifest."""
        return self.videos.sorted_by("path")

    @property
    def missing(self) -> tuple[Shard, ...]:
        """Shards that are still to be written."""
        return tuple(shard for shard in self.shards if shard.name not in self.kept)

    def __str__(self) -> str:
        size, free = sum(shard.size for shard in self.shards), self.place.free_space()
        room = "" if free is None else f"; {_megabytes(free)} are free there"
        lines = [f"{len(self.videos)} videos, {_megabytes(size)} in {len(self.shards)} shards at {self.place}{room}"]
        if self.kept:
            lines += [f"{len(self.kept)} shards are there already"]
        lines += [f"left out: {row.path}: {row.reason}" for row in self.bad]
        return "\n".join(lines)


def plan_shards(
    source: Path, destination: str, shard_size: int = SHARD_SIZE, config: ScanConfig = DEFAULT
) -> ShardPlan:
    """Decide what goes where, and whether it fits; nothing is written yet.

    Args:
        source: a folder of videos, which is scanned first, or the manifest of a scan.
        destination: folder for the shards, or its URL.
        shard_size: bytes of a shard at most, unless a single video is larger.
        config: of the scan.

    Raises:
        ValueError: there is nothing good to write, or `destination` holds shards of something else.
        OSError: there is not enough space.
    """
    if shard_size < 1:
        raise ValueError(f"the size of a shard must be at least 1 byte, got {shard_size}")
    journal = None
    if source.is_file() and is_manifest(source):
        manifest = read_manifest(source)
    else:
        journal = _journal_of(source)
        manifest = scan(source, journal, config)
    if manifest.folder is None:
        raise ValueError(f"{source} is a manifest of shards, not of a folder")
    good, bad = manifest.good, manifest.bad
    if not len(good):
        raise ValueError(f"no video of {source} is good" + "".join(f"\n  {row.path}: {row.reason}" for row in bad))
    videos, shards = _placed(good, shard_size)
    plan = ShardPlan(Path(manifest.folder), Place(destination), videos, shards, bad, journal=journal)
    plan = replace(plan, kept=_kept(plan))
    _check_space(plan)
    return plan


def write_shards(plan: ShardPlan) -> None:
    """Write the shards that are missing, each whole or not at all, and last the manifest.

    Raises:
        VideoError: a video is not as it was when it was scanned.
        StorageError: something cannot be written.
    """
    if plan.place.size(SHARDS_MANIFEST) is None:
        write_manifest(plan.manifest, f"{plan.place}/{UNFINISHED_MANIFEST}")
        size = sum(shard.size for shard in plan.missing)
        with tqdm(total=size, unit="B", unit_scale=True, desc="writing shards") as bar:
            for shard in plan.missing:
                with plan.place.writing(shard.name) as file:
                    for part in _content(plan, shard):
                        file.write(part)
                        bar.update(len(part))
        plan.place.rename(UNFINISHED_MANIFEST, SHARDS_MANIFEST)
    if plan.journal is not None:
        plan.journal.unlink(missing_ok=True)


def _journal_of(source: Path) -> Path:
    """Where a scan is remembered that belongs to no manifest."""
    digest = hashlib.sha256(os.fsencode(source.resolve())).hexdigest()
    return made_in_cache("scans") / f"{digest[:16]}.journal"


def _placed(good: Manifest, shard_size: int) -> tuple[Manifest, tuple[Shard, ...]]:
    """Distribute videos, in order of their content's digest: neighbours then have nothing in common."""
    videos = good.sorted_by("sha256", "path")
    shards: list[Shard] = []
    offsets = np.empty(len(videos), np.int64)
    first, size = 0, 0
    for number, row in enumerate(videos):
        needed = _member_size(row.bytes) + _member_size(len(_description(row)))
        if number > first and size + needed + len(END) > shard_size:
            shards.append(Shard(_name(len(shards)), size + len(END), first, number))
            first, size = number, 0
        offsets[number] = size + BLOCK
        size += needed
    shards.append(Shard(_name(len(shards)), size + len(END), first, len(videos)))
    names = np.repeat([shard.name for shard in shards], [shard.after - shard.first for shard in shards])
    return videos.in_shards(names, offsets), tuple(shards)


def _name(number: int) -> str:
    return f"shard-{number:06d}.tar"


def _member_size(content: int) -> int:
    """Bytes that a file takes in a tar file: a header, and its content padded."""
    return BLOCK + -(-content // BLOCK) * BLOCK


def _description(row: ManifestRow) -> bytes:
    """What a reader other than ours gets to know of a video."""
    names = ("path", "label", "frames", "fps", "height", "width", "codec")
    return json.dumps({name: getattr(row, name) for name in names}).encode()


def _content(plan: ShardPlan, shard: Shard) -> Iterator[bytes]:
    """The bytes of a shard: for each video the file itself and its description, `KEY.mp4` and `KEY.json`."""
    stem = shard.name.partition(".")[0]
    for position, number in enumerate(range(shard.first, shard.after)):
        row = plan.videos[number]
        path = PurePosixPath(row.path)
        # webdataset takes what is before the first dot as the name of a sample.
        words = re.sub(r"[^A-Za-z0-9_-]+", "_", str(path.with_suffix("")))[:LONGEST_KEY]
        key = f"{stem}-{position:06d}-{words}"
        suffix = re.sub(r"[^a-z0-9]", "", path.suffix.lower())[:8] or "video"
        yield _header(f"{key}.{suffix}", row.bytes)
        yield from _copy(plan.folder / row.path, row)
        yield _padding(row.bytes)
        description = _description(row)
        yield _header(f"{key}.json", len(description)) + description + _padding(len(description))
    yield END


def _header(name: str, size: int) -> bytes:
    """A tar header that depends on nothing else: no owner, no time."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _copy(path: Path, row: ManifestRow) -> Iterator[bytes]:
    """A video's bytes. VideoError if they are not those that were scanned."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(COPIED):
                digest.update(part)
                yield part
    except OSError as error:
        raise VideoError(f"cannot read video '{path}': {error.strerror}") from error
    if digest.hexdigest() != row.sha256:
        raise VideoError(f"video '{path}' is not the one that was scanned: scan again")


def _kept(plan: ShardPlan) -> frozenset[str]:
    """Names of the shards that an earlier run has finished. ValueError if what is there is not of this plan."""
    place = plan.place
    started = [name for name in (SHARDS_MANIFEST, UNFINISHED_MANIFEST) if place.size(name) is not None]
    sizes = {shard.name: place.size(shard.name) for shard in plan.shards}
    other = bool(started) and read_manifest(f"{place}/{started[0]}") != plan.manifest
    if other or (not started and any(size is not None for size in sizes.values())):
        raise ValueError(f"{place} holds shards of other videos, or of another size; choose another folder")
    # Shards appear whole, and the plan is the same to the byte: their size tells that they are of it.
    return frozenset(shard.name for shard in plan.shards if sizes[shard.name] == shard.size)


def _check_space(plan: ShardPlan) -> None:
    needed, free = sum(shard.size for shard in plan.missing), plan.place.free_space()
    if free is not None and needed > free:
        raise OSError(f"{plan.place} has {_megabytes(free)} left, and the shards need {_megabytes(needed)}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
