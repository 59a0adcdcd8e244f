"""Videos that a generator makes, as files: each on its own or all side by side, a picture of them, a table."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evatok.codec.moments import evenly
from evatok.codec.targets import check_target
from evatok.data.clips import centre_box, crop_and_resize
from evatok.figures.frames import side_by_side
from evatok.figures.tokens import Column, lengths_figure, save_png
from evatok.generator.config import GeneratorConfig
from evatok.generator.model import Generated, VideoGenerator
from evatok.utils.files import destination
from evatok.utils.tables import table
from evatok.video.reading import VideoError, VideoReader, write_video
from evatok.video.writing import encoder_of

MOMENTS = 3
SHOWN = 16  # videos in the picture, at most
HEIGHT = 128  # of pictures side by side, at least


def generate_files(
    model: str,
    classes: Sequence[str],
    count: int,
    target: Path,
    *,
    frames: Path | None = None,
    given: int = 1,
    together: bool = False,
    options: Mapping[str, Any],
) -> str:
    """Makes videos and writes them, and beside them a picture of moments of them with the tokens of each block.

    Args:
        model: a shipped generator's name, a folder, or a hub's repository.
        classes: by name or number; none of them: videos of no class.
        count: videos of each class.
        target: the video's file; several are numbered, `name-1.mp4` and so on, unless they are to be together.
        frames: video file whose first frames every video begins with; None: none.
        given: how many of them.
        together: whether all are put side by side into one.
        options: of `VideoGenerator.sample`.

    Returns:
        A table of the videos and their tokens, how often blocks have each length, and what has been written.

    Raises:
        ValueError: whatever is wrong with the generator or what is asked for; the video of `frames` cannot be read, or
            would be replaced.
        OSError: a file cannot be written.
    """
    if count < 1:
        raise ValueError(f"at least 1 video of a class can be made, not {count}")
    if frames and given < 1:
        raise ValueError(f"at least 1 frame can be given, not {given}")
    names = [name for name in classes or [""] for _ in range(count)]
    numbered = [target.with_stem(f"{target.stem}-{number + 1}") for number in range(len(names))]
    paths = [target] if together or len(names) == 1 else numbered
    sheet = target.with_suffix(".png")
    encoder_of(target)
    for path in (*paths, sheet):
        check_target(path, frames, None) if frames else destination(path)
    generator = VideoGenerator.from_pretrained(model, device="cuda" if torch.cuda.is_available() else "cpu")
    labels = [_label(name, generator.config.classes) for name in names]
    first = first_frames(frames, given, generator.config).expand(len(names), -1, -1, -1, -1) if frames else None
    made = generator.generate(labels, first, **options)
    if together:
        write_video(target, in_a_square(list(made.videos), names), fps=generator.config.fps)
    else:
        for path, video in zip(paths, made.videos, strict=True):
            write_video(path, video, fps=generator.config.fps)
    save_png(lengths_figure(*moments_of(made, names), width=max(4.5, 0.9 * min(len(names), SHOWN))), sheet)
    written = ", ".join(map(str, (*paths, sheet)))
    return f"{_table(made, names)}\n\n{_shares(made)}\nwritten: {written}"


def first_frames(path: Path, count: int, config: GeneratorConfig) -> Tensor:
    """A video's first frames as a generator sees them: at its rate, the largest centre crop, uint8 `(count, 3, H, W)`.

    Raises VideoError if the video cannot be read, or has fewer.
    """
    with VideoReader(path, fps=config.fps) as reader:
        frames = [frame for frame, _ in islice(reader, count)]
    if len(frames) < count:
        many = f"{len(frames)} frames at the generator's {config.fps:g} a second"
        raise VideoError(f"'{path}' has {many}; {count} are to be given")
    video = torch.stack(frames)
    return crop_and_resize(video, centre_box((video.shape[-2], video.shape[-1]), config.picture), config.picture)


def _label(name: str, classes: Sequence[str]) -> str | int | None:
    """A class as it is typed: its name, or a number that is no name; nothing: of no class."""
    if not name:
        return None
    return int(name) if name not in classes and name.isdecimal() else name


def in_a_square(videos: Sequence[Tensor], names: Sequence[str]) -> Iterator[Tensor]:
    """The frames `(3, H, W)` uint8 of videos side by side, in about as many rows as columns, each under its class."""
    columns, height = math.ceil(math.sqrt(len(videos))), max(HEIGHT, videos[0].shape[-2])
    for pictures in zip(*videos, strict=True):
        yield side_by_side(pictures, names, height=height, columns=columns)


def moments_of(made: Generated, names: Sequence[str]) -> tuple[list[str], list[Column]]:
    """What the picture shows: moments of the first videos, and the tokens of their blocks."""
    moments, fps = evenly(made.videos.shape[1], MOMENTS), made.tokens.videos[0].fps
    columns = [
        Column(name or "no class", video[moments], tokens.lengths.flatten().tolist(), [f"{tokens.num_tokens} tokens"])
        for name, video, tokens in zip(names, made.videos[:SHOWN], made.tokens, strict=False)
    ]
    return [f"{moment / fps:.1f} s" for moment in moments], columns


def _table(made: Generated, names: Sequence[str]) -> str:
    rows = [
        (str(number), name or "-", str(tokens.num_tokens), " ".join(tokens.assignments))
        for number, (name, tokens) in enumerate(zip(names, made.tokens, strict=True), 1)
    ]
    return table(("video", "class", "tokens", "of each block"), rows)


def _shares(made: Generated) -> str:
    """How often blocks have each length, over all clips."""
    rows = [
        (str(block), *(f"{share:.0%}" for share in shares))
        for block, shares in enumerate(made.level_shares.tolist(), 1)
    ]
    header = ("block", *(f"{level} tokens" for level in made.tokens.format.levels))
    return f"{table(header, rows)}\n\n{made.mean_tokens:.1f} tokens a clip on average"
