"""Token sets with known contents."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow

from evatok.tokens.records import TokenFormat
from evatok.tokens.token_set import ClipTokens, TokenSet, TokenSetHeader, write_part
from evatok.utils.parts import part_name

FORM = TokenFormat((4, 8), 64, 4, 2, "made-up", "0123456789abcdef")
CLASSES = ("boat", "car", "train")


def made_up(
    clips: Sequence[int],
    seed: int = 0,
    mirrored: bool = False,
    form: TokenFormat = FORM,
    classes: Sequence[str] = CLASSES,
) -> TokenSet:
    """Videos of so many clips each, with random lengths and codes; a code is never far from the one before it.

    Args:
        clips: of each video.
        seed: of lengths and codes; sets of different seeds share no video.
        mirrored: whether each video comes twice, the second time mirrored.
        form: of the tokens.
        classes: of which the videos have one after the other.
    """
    rng = np.random.default_rng(seed)
    copies = 2 if mirrored else 1
    rows = [(video, copy, clip) for video, n in enumerate(clips) for copy in range(copies) for clip in range(n)]
    videos, copy, number = np.array(rows, np.int32).reshape(-1, 3).T
    lengths = rng.choice(form.levels, (len(rows), form.clip_blocks)).astype(np.int32)
    ids = (rng.integers(0, 3, lengths.sum()).cumsum() % form.codebook_size).astype(np.int32)
    labels = (videos % len(classes) if classes else np.full_like(videos, -1)).astype(np.int32)
    starts = np.concatenate(([0], lengths.sum(1, dtype=np.int64).cumsum()))
    names = pyarrow.array([f"source{seed}:{video}" for video in range(len(clips))])
    values = (lengths, labels, videos, names, number, copy == 1, starts, ids)
    return TokenSet(form, tuple(classes), (32, 32), 15.0, {"by": "hand"}, *values)


def save(tokens: TokenSet, folder: Path) -> None:
    """Writes a set as one part."""
    folder.mkdir(exist_ok=True)
    header = TokenSetHeader(tokens.format, tokens.classes, tokens.picture, tokens.fps, 1, tokens.how)
    header.write(folder)
    names = tokens.names.take(pyarrow.array(tokens.videos)).to_pylist()
    rows = zip(names, tokens.labels, tokens.clips, tokens.mirrored, tokens.lengths, strict=True)
    clips = [
        ClipTokens(name, int(label), int(clip), bool(mirrored), lengths, tokens.clip_ids(row))
        for row, (name, label, clip, mirrored, lengths) in enumerate(rows)
    ]
    write_part(folder / part_name(0), header, clips, {})
