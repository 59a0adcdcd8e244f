"""Videos that training and validation share."""

from collections.abc import Sequence

from evatok.data.clip_source import ClipSource

SHOWN = 5  # shared videos that an error names


class OverlapError(ValueError):
    """Training and validation share videos."""


def refuse_overlap(training: Sequence[ClipSource], validation: Sequence[ClipSource]) -> None:
    """Raise OverlapError if a source of training and one of validation hold the same video.

    The same are: one file, by whatever path; copies of a file, where both were scanned; a game's episode of one
    seed; scenes that show one file.
    """
    held_out = [(source, video, source.identities(video)) for source in validation for video in range(len(source))]
    names = {name for *_, identities in held_out for name in identities}
    trained: dict[str, str] = {}
    for source in training if names else ():
        for video in source.candidates(names):
            for name in names.intersection(source.identities(video)):
                trained.setdefault(name, _shown(source, video))
    pairs = []
    for source, video, identities in held_out:
        same = next((trained[name] for name in identities if name in trained), None)
        if same is not None:
            pairs.append(f"{_shown(source, video)} is {same}")
    if pairs:
        more = "; ..." if len(pairs) > SHOWN else ""
        raise OverlapError(f"{len(pairs)} videos of validation are in training: {'; '.join(pairs[:SHOWN])}{more}")


def _shown(source: ClipSource, video: int) -> str:
    return f"{source.name}:{source.describe(video).key}"
