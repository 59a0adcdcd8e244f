"""Commands that prepare training data."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveFloat, PositiveInt

from evatok.cli.arguments import OR_FOLDER, any_path


def scan(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Decode every video of a folder completely: which are good, and why others are not."""
    parser.add_argument("source", type=any_path, help="a folder, whose subfolders are classes, or a video.")
    parser.add_argument("-o", "--output", required=True, help=f"the manifest, a Parquet file, {OR_FOLDER}")
    given, config = _parse_scan(parser, words)
    from evatok.codec.targets import named
    from evatok.data.manifest import summary
    from evatok.data.prepare.scanning import scan_to

    with named(given.output, given.source.resolve(), ".parquet") as target:
        manifest = scan_to(given.source, _place_of_manifest(target), config)
    print(f"{target}: {summary(manifest)}")


def _place_of_manifest(target: Path) -> Path:
    """Where a manifest is written; ValueError where something else would be lost."""
    from evatok.data.manifest import ManifestError, read_manifest
    from evatok.utils.files import destination

    if not os.path.lexists(target):
        return target
    place = destination(target)
    if place.exists() and place.stat().st_size:
        try:
            scanned = read_manifest(place).folder is not None
        except ManifestError:
            scanned = False
        if not scanned:
            raise ValueError(f"cannot write {target}: it exists and is no manifest of a scan")
    return place


def shards(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Pack the good videos of a folder into tar files that training reads, here or in an object store."""
    parser.add_argument(
        "source", type=any_path, help="a folder of videos, which is scanned first, or a scan's manifest."
    )
    parser.add_argument("destination", help="folder for the shards, or its URL, such as s3://bucket/shards.")
    parser.add_argument("--shard_size", type=PositiveInt, default=2**30, help="bytes of a shard at most.")
    given, config = _parse_scan(parser, words)
    from evatok.data.prepare.sharding import plan_shards, write_shards

    plan = plan_shards(given.source, given.destination, given.shard_size, config)
    print(plan)
    write_shards(plan)
    print(f"{plan.place} is complete")


def big_buck_bunny(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Fetch the film and cut it into shots, for training and for validation."""
    parser.add_argument(
        "folder", type=any_path, help="gets train/ and validation/, shots in each; it must not exist yet."
    )
    parser.add_argument("--height", type=PositiveInt, default=270, help="of the shots in pixels.")
    given = parser.parse_args(words)
    from evatok.data.toy.film import CREDIT, prepare_big_buck_bunny

    made = prepare_big_buck_bunny(given.folder, given.height)
    _print_made(given.folder, "shots", made)
    print(CREDIT)


def photographs(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Make a folder of photographs and of cut-outs with alpha, out of Debian packages and scikit-image's."""
    parser.add_argument("folder", type=any_path, help="gets train/, validation/ and cutouts/; it must not exist yet.")
    parser.add_argument("--from", type=any_path, help="folder with the .deb files; without it, apt-get fetches them.")
    given = parser.parse_args(words)
    from evatok.data.toy.photographs import prepare_photographs

    counts = prepare_photographs(given.folder, given["from"])
    if not any(counts.values()):
        raise FileExistsError(f"{given.folder} exists and holds no photographs; choose another folder")
    for part, pictures in counts.items():
        print(f"{given.folder}/{part}: {pictures} pictures")
    print(f"{given.folder}/CREDITS.md says whose they are")


def footage(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Make a folder of a camera's short recordings, for training and for validation."""
    parser.add_argument("folder", type=any_path, help="gets train/ and validation/; it must not exist yet.")
    parser.add_argument(
        "--from", type=any_path, help="folder with the repository's files; without it, they are fetched."
    )
    parser.add_argument("--height", type=PositiveInt, default=180, help="of the videos in pixels.")
    given = parser.parse_args(words)
    from evatok.data.toy.footage import CREDIT, prepare_footage

    made = prepare_footage(given.folder, given["from"], given.height)
    _print_made(given.folder, "videos", made)
    print(CREDIT)


def _print_made(folder: Path, what: str, made: Mapping[str, tuple[int, int]]) -> None:
    if not made["train"][0]:
        raise FileExistsError(f"{folder} exists and holds no {what}; choose another folder")
    for part, (videos, frames) in made.items():
        print(f"{folder}/{part}: {videos} {what}, {frames} frames")


def _parse_scan(parser: ArgumentParser, words: Sequence[str]) -> tuple[Namespace, Any]:
    """What is given to a command that scans, and the `ScanConfig` in it."""
    parser.add_argument("--processes", type=PositiveInt, help="videos decoded at a time; without it, as many as CPUs.")
    parser.add_argument("--memory", type=PositiveFloat, default=4.0, help="GiB that decoding a video may take.")
    parser.add_argument(
        "--seconds", type=PositiveFloat, default=60.0, help="that any video may take; larger ones get more."
    )
    given = parser.parse_args(words)
    from evatok.data.prepare.scanning import ScanConfig

    return given, ScanConfig(given.processes, int(min(given.memory, 2**32) * 2**30), given.seconds)
