"""Videos that training and validation share."""

from collections.abc import Sequence

from evatok.data.clip_source import ClipSource

SHOWN = 5  # shared videos that an error names


class OverlapError(ValueError):
    """Training and validation share videos."""


def refuse_overlap(training: Sequence[ClipSource], validation: Sequence[ClipSource]) -> None:
    """Raise OverlapError if a source of training and one of validation hold the same video.

    The same are: one file, by whatever path; copies of a file, where both were scanned; a game's episode of one
    seed; a photograph.
    """
    held_out: dict[str, tuple[int, int]] = {}
    for number, source in enumerate(validation):
        for video in range(len(source)):
            held_out |= dict.fromkeys(source.identities(video), (number, video))
    shared: dict[tuple[int, int], str] = {}
    for source in training if held_out else ():
        for video in range(len(source)):
            for found in {held_out[name] for name in source.identities(video) if name in held_out}:
                shared.setdefault(found, f"{source.name}:{source.describe(video).key}")
    if shared:
        pairs = [
            f"{validation[number].name}:{validation[number].describe(video).key} is {trained}"
            for (number, video), trained in shared.items()
        ]
        raise OverlapError(
            f"{len(shared)} videos of validation are in training: {'; '.join(pairs[:SHOWN])}"
            f"{'; ...' if len(pairs) > SHOWN else ''}"
        )
