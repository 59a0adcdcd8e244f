"""Token sets with known contents."""

from collections.abc import Sequence

import numpy as np

from evatok.tokens.records import TokenFormat
from evatok.tokens.token_set import TokenSet

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
        seed: of lengths and codes.
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
    return TokenSet(form, tuple(classes), (32, 32), 15.0, lengths, labels, videos, number, copy == 1, ids)
