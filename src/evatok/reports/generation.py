"""Evaluation of a generator: gFVD with all that makes it, tokens, lengths, time, and whether classes are right."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from evatok.evaluation.agreement import ClassAgreement, class_agreement
from evatok.evaluation.frechet import frechet_distance
from evatok.evaluation.fvd import fvd_scores
from evatok.evaluation.result_card import ResultCard, cards_table
from evatok.pretrained.i3d import I3D
from evatok.reports.clip_parts import ClipParts
from evatok.reports.generated import (
    CARDS,
    SamplingConfig,
    decoder_of,
    generator_card,
    measuring_device,
    write_cards,
)
from evatok.reports.generation_sheet import at_instants, write_sheet
from evatok.reports.real_clips import Measured, RealClips, RealClipsConfig, logits_of, measure_real
from evatok.utils.configs import check_least
from evatok.utils.files import write_json
from evatok.utils.texts import shortened

if TYPE_CHECKING:
    from evatok.generator.model import VideoGenerator

RECORD, SHEET = "generation.json", "samples.png"


@dataclass(frozen=True)
class GenerationConfig:
    """What is generated, and what it is compared to.

    Args:
        generator: a folder that holds one, a shipped one's name, or a hub's repository.
        real: the real clips; their number is the field's, often that of the samples.
        folder: where numbers, cards and the contact sheet are written; the same command again goes on there.
        held_out: further real clips of the same kind: how far they are from `real` is what generated ones may hope for,
            and a classifier is judged by them.
        classes: names of the classes that are asked for in turn; None: all of the generator's.
        samples: generated clips.
        batch: of them that are made, measured and kept together.
        rows: of them that are sampled side by side.
        compile: compiles how tokens are read, which takes minutes first.
        sampling: how they are drawn.
        step: distance between the frames of a real clip, in frames of its video.
        measured_size: height and width of the pixels that are measured, of both sides; None: the generator's.
        lengths_of: folder of the token set whose lengths are compared; None: none.
        training: `training.json` of the tokenizer, which says by what networks it was trained; None: that of a shipped
            tokenizer, if it is one.
        sheet: samples of each class in the contact sheet; 0: there is none.
    """

    generator: str
    real: RealClipsConfig
    folder: str
    held_out: RealClipsConfig | None = None
    classes: list[str] | None = None
    samples: int = 10_000
    batch: int = 64
    rows: int = 16
    compile: bool = False
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    step: int = 1
    measured_size: tuple[int, int] | None = None
    lengths_of: str | None = None
    training: str | None = None
    sheet: int = 2

    def __post_init__(self) -> None:
        check_least(self, 2, "samples")
        check_least(self, 1, "batch", "rows", "step")
        check_least(self, 0, "sheet")
        if self.classes is not None and not self.classes:
            raise ValueError("classes names none; leave it out for all of the generator's")


@dataclass(frozen=True)
class GenerationRecord:
    """What was found beside the cards.

    Args:
        card: FVD's.
        fvd_held_out: FVD of the real clips against held-out ones, as many as samples where there are so many; None
            without those.
        held_out_clips: their number.
        agreement: whether classes are right; None without classes or held-out clips of them.
        lengths: how many blocks have each number of tokens, generated and in the token set if one was given.
        lengths_apart: half the sum of the differences of their shares, 0 to 1; None without a token set.
        seconds_per_video: of sampling and decoding, as measured here, on whatever else the machine did.
        device: on which.
        config: of the evaluation.
    """

    card: ResultCard
    fvd_held_out: float | None
    held_out_clips: int
    agreement: ClassAgreement | None
    lengths: dict[str, dict[str, int]]
    lengths_apart: float | None
    seconds_per_video: float
    device: str
    config: dict[str, Any]


class Samples(NamedTuple):
    """Generated clips: logits, numbers of their classes, tokens of blocks, seconds for each, pictures of the first."""

    logits: Tensor
    labels: Tensor
    lengths: Tensor
    seconds: float
    pictures: Tensor


def evaluate_generation(config: GenerationConfig) -> Path:
    """Generates, measures, prints the table; returns the path of the `generation.json` that it wrote.

    Raises:
        CheckpointError: if there is no such generator.
        ValueError: if a source cannot be opened, a class is not known, or the folder is another evaluation's.
        VideoError: if no clip can be read.
    """
    from evatok.generator.model import VideoGenerator

    generator = VideoGenerator.from_pretrained(config.generator, device=measuring_device())
    classes, wanted_lengths = _classes(config, generator), _lengths_of(config.lengths_of)
    folder, picture, frames = Path(config.folder), generator.config.picture, generator.config.frames
    size, i3d = config.measured_size or picture, I3D.from_pretrained().to(measuring_device())
    clips = {
        name: RealClips(each, picture, frames, config.step)
        for name, each in (("real", config.real), ("held_out", config.held_out))
        if each is not None
    }
    _check_classes(classes, clips["real"])
    measured = {name: measure_real(each, i3d, size, folder / name) for name, each in clips.items()}
    real, held_out = measured["real"], measured.get("held_out")
    samples = _samples(config, generator, classes, i3d, size)
    card = generator_card(
        "generation",
        generator,
        real.clips,
        real.keys,
        size,
        fvd_scores(real.logits, samples.logits),
        samples.lengths.sum(1).double().mean().item(),
        asdict(config.sampling) | {"classes": list(classes)},
        config.training,
    )
    as_many = None if held_out is None else _spread(held_out.logits, config.samples)
    lengths = {"generated": _histogram(samples.lengths)}
    if wanted_lengths is not None:
        lengths["token set"] = _histogram(wanted_lengths)
    record = GenerationRecord(
        card=card,
        fvd_held_out=None if as_many is None else frechet_distance(real.logits, as_many),
        held_out_clips=0 if as_many is None else len(as_many),
        agreement=None if held_out is None else _agreement(classes, real, held_out, samples),
        lengths=lengths,
        lengths_apart=None if wanted_lengths is None else _apart(*lengths.values()),
        seconds_per_video=samples.seconds,
        device=str(generator.device),
        config=asdict(config),
    )
    if config.sheet:
        write_sheet(folder / SHEET, config.sheet, classes, samples.pictures, real)
    write_cards(folder / CARDS, [card])
    write_json(folder / RECORD, asdict(record))
    print(report(record))
    return folder / RECORD


def report(record: GenerationRecord) -> str:
    """The numbers as text that reads well as Markdown."""
    columns = ["fvd", "fvd_low", "fvd_high", "fvd_infinity", "fvd_floor", "kvd", "kvd_std"]
    parts = [cards_table([("", [record.card])], columns)]
    if record.fvd_held_out is not None:
        parts.append(f"FVD of the real clips against {record.held_out_clips} held-out ones: {record.fvd_held_out:.4g}.")
    if agreement := record.agreement:
        parts.append(
            f"A classifier ({agreement.classifier}) finds the class of {agreement.held_out:.1%} of the held-out clips, "
            f"and that asked for of {agreement.generated:.1%} of the generated ones. {agreement.right:.1%} of the "
            "classes are what it finds most often where they are asked for."
        )
    for name, counts in record.lengths.items():
        total = sum(counts.values())
        shares = ", ".join(f"{level}: {count / total:.1%}" for level, count in counts.items())
        parts.append(f"Tokens of a block, {name}: {shares}.")
    if record.lengths_apart is not None:
        parts.append(f"These differ in {record.lengths_apart:.1%} of the blocks.")
    parts.append(f"{record.seconds_per_video:.3g} s a video, as measured on {record.device}.")
    return "\n\n".join(parts)


def _classes(config: GenerationConfig, generator: "VideoGenerator") -> tuple[str, ...]:
    """Those that are asked for; none of a generator that knows none."""
    known = generator.config.classes
    if unknown := [name for name in config.classes or () if name not in known]:
        raise ValueError(f"classes: {', '.join(unknown)} are none of the generator's {len(known)}")
    return known if config.classes is None else tuple(config.classes)


def _check_classes(classes: tuple[str, ...], clips: RealClips) -> None:
    """ValueError where the sides have different classes: FVD would be of the difference."""
    if classes and clips.classes and (odd := sorted(set(clips.classes) ^ set(classes))):
        raise ValueError(
            f"real clips and samples are not of the same classes: only one side has {shortened(', '.join(odd), 200)}"
        )


def _samples(
    config: GenerationConfig, generator: "VideoGenerator", classes: tuple[str, ...], i3d: I3D, size: tuple[int, int]
) -> Samples:
    """Generates and measures; sample `n` is of the class `n` modulo their number."""
    shown = config.sheet * max(len(classes), 1)
    plan = {
        "generator": generator.checksum,
        "decoder": decoder_of(generator)[1],
        "classes": classes,
        "batch": config.batch,
        "samples": config.samples,
        "sampling": asdict(config.sampling),
        "measured_size": size,
        "shown": shown,
    }
    parts = ClipParts(Path(config.folder) / "generated", plan)

    def part(numbers: range) -> dict[str, Tensor]:
        began = time.perf_counter()
        wanted = [classes[n % len(classes)] if classes else None for n in numbers]
        made = generator.generate(
            wanted,
            first=numbers[0],
            rows=config.rows,
            compile=config.compile,
            progress=False,
            **asdict(config.sampling),
        )
        seconds = time.perf_counter() - began
        # No clip at all has pictures of no size, which join with others all the same.
        pictures = made.videos[: max(shown - numbers[0], 0)]
        return {
            "logits": logits_of(i3d, made.videos, size),
            "lengths": made.tokens.lengths,
            "seconds": torch.tensor([seconds], dtype=torch.float64),
            "pictures": at_instants(pictures),
        }

    joined = parts.measured(config.samples, config.batch, part, "samples")
    labels = torch.arange(config.samples) % max(len(classes), 1)
    seconds = joined["seconds"].sum().item() / config.samples
    return Samples(joined["logits"], labels, joined["lengths"], seconds, joined["pictures"])


def _spread(rows: Tensor, most: int) -> Tensor:
    """As many of the rows at most, spread evenly."""
    return rows[torch.linspace(0, len(rows) - 1, min(most, len(rows))).round().long()]


def _agreement(classes: tuple[str, ...], real: Measured, held_out: Measured, samples: Samples) -> ClassAgreement | None:
    """By the real and held-out clips of these classes; None where there are none."""

    def of_classes(measured: Measured) -> tuple[Tensor, Tensor]:
        numbers = measured.numbers_in(classes)
        return measured.logits[numbers >= 0], numbers[numbers >= 0]

    known, judged = of_classes(real), of_classes(held_out)
    if not len(known[1]) or not len(judged[1]):
        return None
    return class_agreement(known, judged, (samples.logits, samples.labels), classes)


def _histogram(lengths: Tensor) -> dict[str, int]:
    levels, counts = lengths[lengths > 0].unique(return_counts=True)
    return {str(level): count for level, count in zip(levels.tolist(), counts.tolist(), strict=True)}


def _apart(ours: dict[str, int], theirs: dict[str, int]) -> float:
    shares = [{level: count / sum(counts.values()) for level, count in counts.items()} for counts in (ours, theirs)]
    return sum(abs(shares[0].get(level, 0) - shares[1].get(level, 0)) for level in {*ours, *theirs}) / 2


def _lengths_of(folder: str | None) -> Tensor | None:
    """Those of the clips of a token set."""
    if folder is None:
        return None
    from evatok.tokens.token_set import TokenSet

    return torch.from_numpy(TokenSet.open(folder).lengths)
