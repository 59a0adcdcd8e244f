"""Token sets: the tokens of all full clips of many videos, in a folder of Parquet parts with a JSON file beside them.

`tokens.json` is there from the beginning and says what the parts are to hold, so that an unfinished set can go on.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from evatok.tokens.records import TokenFormat
from evatok.utils.configs import from_dict
from evatok.utils.files import reason, replacing, write_json
from evatok.utils.parts import part_name

HEADER = "tokens.json"
VERSION = 1
_METADATA = b"evatok.tokens"
_SMALL = 2**16  # codes of a codebook whose ids are stored in two bytes


class TokenSetError(ValueError):
    """A folder that holds no whole token set; says why in one sentence."""


@dataclass(frozen=True)
class TokenSetHeader:
    """What all clips of a set have in common.

    Args:
        format: of the tokens.
        classes: names of the classes that labels count.
        picture: height and width of the clips as the tokenizer saw them.
        fps: frames per second of the clips.
        parts: number of the files.
        how: what made the set: tokenizer, lengths, sources, counts, versions; JSON values by names.
    """

    format: TokenFormat
    classes: tuple[str, ...]
    picture: tuple[int, int]
    fps: float
    parts: int
    how: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Writes `tokens.json`."""
        write_json(folder / HEADER, {"kind": "evatok.tokens", "version": VERSION, **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The header in a folder. Raises TokenSetError."""
        path = folder / HEADER
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(entries, dict) or entries.pop("kind", None) != "evatok.tokens":
                raise ValueError("it is no token set's")
            if (version := entries.pop("version", None)) != VERSION:
                raise ValueError(f"it has version {version!r:.20}; this evatok reads version {VERSION}")
            header = from_dict(cls, entries)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise TokenSetError(f"{path} cannot be read: {reason(error)}") from error
        return header

    @property
    def digest(self) -> str:
        """Says of a part which set it belongs to."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


class ClipTokens(NamedTuple):
    """A clip of a part.

    Args:
        video: "source:video".
        label: number of its class, -1 for none.
        clip: its number within its video.
        mirrored: whether it was flipped left to right.
        lengths: tokens of each block, int32.
        ids: of the clip, int32.
    """

    video: str
    label: int
    clip: int
    mirrored: bool
    lengths: NDArray[np.int32]
    ids: NDArray[np.int32]


def write_part(path: Path, header: TokenSetHeader, clips: list[ClipTokens], skipped: Mapping[str, str]) -> None:
    """Writes a part, whole or not at all: its clips, and why other videos of it could not be read."""
    schema = _schema(header.format)
    columns = [pyarrow.array([clip[place] for clip in clips], field.type) for place, field in enumerate(schema)]
    metadata = json.dumps({"of": header.digest, "skipped": dict(skipped)})
    table = pyarrow.table(columns, schema.with_metadata({_METADATA: metadata}))
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)


def _schema(form: TokenFormat) -> Any:
    """The columns of a part, one for each value of `ClipTokens`."""
    ids = pyarrow.uint16() if form.codebook_size <= _SMALL else pyarrow.int32()
    types = {
        "video": pyarrow.string(),
        "label": pyarrow.int32(),
        "clip": pyarrow.int32(),
        "mirrored": pyarrow.bool_(),
        "lengths": pyarrow.list_(pyarrow.int32()),
        "ids": pyarrow.list_(ids),
    }
    return pyarrow.schema([pyarrow.field(name, kind, nullable=False) for name, kind in types.items()])


@dataclass(frozen=True, eq=False)
class TokenSet:
    """The tokens of many clips in memory; clips in the order of their videos, plain ones before mirrored ones.

    Args:
        format: of the tokens.
        classes: names of the classes.
        picture: height and width of the clips as the tokenizer saw them.
        fps: frames per second of the clips.
        how: what made the set, and under `skipped` why videos could not be read.
        lengths: tokens of each block of each clip, int32 `(N, T)`.
        labels: of each clip, int32 `(N,)`, an index into `classes`; -1 for none.
        videos: number of each clip's video, int32 `(N,)`, an index into `names`.
        names: "source:video" of each video, a pyarrow array of strings.
        clips: number of each clip within its video, int32 `(N,)`.
        mirrored: whether each clip was flipped left to right, bool `(N,)`.
        starts: where each clip begins in `ids`, and the end: int64 `(N + 1,)`.
        ids: of all clips, int32.
    """

    format: TokenFormat
    classes: tuple[str, ...]
    picture: tuple[int, int]
    fps: float
    how: dict[str, Any]
    lengths: NDArray[np.int32]
    labels: NDArray[np.int32]
    videos: NDArray[np.int32]
    names: Any
    clips: NDArray[np.int32]
    mirrored: NDArray[np.bool_]
    starts: NDArray[np.int64]
    ids: NDArray[np.int32]

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.labels)

    def clip_ids(self, clip: int) -> NDArray[np.int32]:
        """The ids of a clip."""
        return self.ids[self.starts[clip] : self.starts[clip + 1]]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Reads a finished set. Raises TokenSetError for any other folder, and for parts that are damaged."""
        folder = Path(folder)
        header = TokenSetHeader.read(folder)
        paths = [folder / part_name(number) for number in range(header.parts)]
        if missing := sum(not path.exists() for path in paths):
            raise TokenSetError(
                f"the token set in {folder} is unfinished, {len(paths) - missing} of {len(paths)} parts are there: "
                "run the same `evatok tokenize` again"
            )
        skipped: dict[str, str] = {}
        parts, names = list[dict[str, NDArray[Any]]](), list[Any]()
        for path in paths:
            part, named = _read_part(path, header, sum(map(len, names)), skipped)
            parts.append(part)
            names.append(named)
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        starts = np.concatenate([[0], np.cumsum(columns["lengths"].sum(1, dtype=np.int64))])
        how = {**header.how, "skipped": skipped}
        columns["names"] = pyarrow.concat_arrays(names)
        return cls(header.format, header.classes, header.picture, header.fps, how, starts=starts, **columns)


def _read_part(
    path: Path, header: TokenSetHeader, videos: int, skipped: dict[str, str]
) -> tuple[dict[str, NDArray[Any]], Any]:
    """Columns of a part, whose videos are numbered from `videos` on, and their names; notes what it has skipped."""
    try:
        table, schema = pyarrow.parquet.read_table(path), _schema(header.format)
        metadata = json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))
        if metadata.get("of") != header.digest:
            raise ValueError(f"it does not belong to the set that {HEADER} describes")
        skipped |= metadata["skipped"]
        table = table.select(schema.names).cast(schema).combine_chunks()
        lengths = np.diff(_values(table, "lengths", offsets=True))
        if np.any(lengths != header.format.clip_blocks):
            raise ValueError(f"a clip has {lengths.max()} blocks instead of {header.format.clip_blocks}")
        columns = {
            "lengths": _values(table, "lengths").astype(np.int32).reshape(-1, header.format.clip_blocks),
            "labels": np.asarray(table["label"]).astype(np.int32),
            "clips": np.asarray(table["clip"]).astype(np.int32),
            "mirrored": np.asarray(table["mirrored"]).astype(bool),
            "ids": _values(table, "ids").astype(np.int32),
        }
        _check(header, columns, np.diff(_values(table, "ids", offsets=True)))
        first = (columns["clips"] == 0) & ~columns["mirrored"]
        columns["videos"] = (videos - 1 + np.cumsum(first)).astype(np.int32)
        names = table["video"].combine_chunks().filter(pyarrow.array(first))
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise TokenSetError(f"{path} cannot be read: {reason(error)}") from error
    return columns, names


def _values(table: Any, name: str, offsets: bool = False) -> NDArray[Any]:
    """The values of a column of lists, one list after the other, or where each list begins."""
    column = table[name].chunk(0) if table[name].num_chunks else pyarrow.array([], table[name].type)
    return np.asarray(column.offsets if offsets else column.flatten())


def _check(header: TokenSetHeader, columns: Mapping[str, NDArray[Any]], sizes: NDArray[Any]) -> None:
    """ValueError where the columns of a part do not agree with each other or with the header."""
    form, lengths, labels, ids = header.format, columns["lengths"], columns["labels"], columns["ids"]
    if len(wrong := lengths[~np.isin(lengths, form.levels)]):
        raise ValueError(f"a block has {wrong[0]} tokens; the levels are {form.levels}")
    if np.any(lengths.sum(1) != sizes):
        raise ValueError("a clip has more or fewer ids than its lengths add up to")
    if len(ids) and not 0 <= ids.min() <= ids.max() < form.codebook_size:
        raise ValueError(f"ids lie in [{ids.min()}, {ids.max()}]; the codebook has [0, {form.codebook_size - 1}]")
    if len(labels) and not -1 <= labels.min() <= labels.max() < len(header.classes):
        raise ValueError(f"labels lie in [{labels.min()}, {labels.max()}]; there are {len(header.classes)} classes")
    clips = columns["clips"]
    if len(clips) and (clips[0] or np.any(clips[1:][clips[1:] != clips[:-1] + 1])):
        raise ValueError("clips of a video are not numbered from 0 on")
