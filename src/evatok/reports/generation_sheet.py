"""The contact sheet of generated clips: a row a class, a real clip first."""

from pathlib import Path

import torch
from torch import Tensor

from evatok.figures.frames import grid, resized
from evatok.figures.text import text_picture
from evatok.reports.real_clips import Measured
from evatok.utils.files import replacing

# Pictures of a clip, spread over its time, and how high each is.
_INSTANTS, _HEIGHT = 4, 64


def at_instants(videos: Tensor) -> Tensor:
    """What the sheet shows of clips `(B, F, 3, H, W)`: `(B, 4, 3, H, W)`."""
    return videos[:, torch.linspace(0, videos.shape[1] - 1, _INSTANTS).round().long()]


def write_sheet(path: Path, count: int, classes: tuple[str, ...], pictures: Tensor, real: Measured) -> None:
    """Writes a PNG with `count` samples of each class.

    Args:
        path: where to.
        count: samples of a class.
        classes: their names; none where there are no classes, which makes one row.
        pictures: of the first samples, whose classes take turns, as `at_instants` gives them.
        real: the real clips, of which the first of each class is shown.
    """
    from PIL import Image

    names = classes or ("",)
    numbers = real.numbers_in(classes) if classes else torch.zeros(len(real.labels), dtype=torch.int64)
    wide = _strip(pictures[0]).shape[2]
    heads = ["", "real", *(f"sample {n + 1}" for n in range(count))]
    cells = [text_picture(head, (16, wide if place else 2 * _HEIGHT), font_size=11) for place, head in enumerate(heads)]
    nothing = text_picture("", (_HEIGHT, wide), font_size=14)
    for label, name in enumerate(names):
        cells.append(text_picture(name, (_HEIGHT, 2 * _HEIGHT), font_size=14))
        first = (numbers == label).nonzero()[:1].flatten().tolist()
        cells += [_strip(at_instants(real.clips.batch(first).video)[0])] if first else [nothing]
        samples = [_strip(sample) for sample in pictures[label :: len(names)]]
        cells += [*samples, *[nothing] * (count - len(samples))]
    with replacing(path) as temporary:
        Image.fromarray(grid(cells, len(heads)).permute(1, 2, 0).numpy()).save(temporary)


def _strip(pictures: Tensor) -> Tensor:
    """Pictures `(n, 3, H, W)` in a row."""
    return torch.cat(list(resized(pictures, _HEIGHT)), 2)
