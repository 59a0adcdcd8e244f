"""What evaluations of a generator share: how it samples, what its cards say, what trained its tokenizer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from evatok.evaluation.fvd import FVDScores
from evatok.evaluation.result_card import Network, Protocol, ResultCard, Task, cards_table
from evatok.generator.drawing import Drawing
from evatok.pretrained import i3d, lpips
from evatok.reports.card import TRAINING, TrainingRecord
from evatok.reports.real_clips import RealClips
from evatok.reports.record import RecordError, keys_digest, provenance
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.configs import check_least, from_dict
from evatok.utils.files import write_json

if TYPE_CHECKING:
    from evatok.generator.model import VideoGenerator

CARDS = "cards.json"
I3D_NETWORK = Network("i3d", i3d.PACKAGE.sha256)
# The one filter of all that models see, then I3D's own.
TO_SIZE = "bicubic antialiased"
TO_I3D = f"{TO_SIZE}, then 224x224 bilinear (no antialiasing, align_corners=False)"


@dataclass(frozen=True)
class SamplingConfig(Drawing):
    """How a generator samples.

    Args:
        seed: of chance; a sample is a function of it and of the sample's number.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 0, "seed")


def generator_card(
    task: Task,
    generator: "VideoGenerator",
    clips: RealClips,
    keys: Sequence[str],
    size: tuple[int, int],
    scores: FVDScores,
    tokens: float,
    sampling: Mapping[str, Any],
    training: str | None,
    given_frames: int = 0,
) -> ResultCard:
    """The card of the FVD of generated clips against real ones of these keys, both measured at a size.

    `training` is the path of the `training.json` of the generator's tokenizer, as `networks_of` takes it.
    """
    protocol = Protocol(
        task=task,
        metric="FVD",
        network=I3D_NETWORK,
        real_split=clips.config.split,
        real_sha256=keys_digest(keys),
        real_clips=scores.real_clips,
        fake_clips=scores.fake_clips,
        frames=clips.frames,
        frame_step=clips.step,
        fps=generator.config.fps,
        size=clips.size,
        measured_size=size,
        resize=TO_I3D,
        given_frames=given_frames,
    )
    return ResultCard(
        protocol,
        fvd_numbers(scores),
        tokenizer=decoder_of(generator),
        generator=(generator.name, generator.checksum),
        tokens=tokens,
        sampling=dict(sampling),
        trained_by=networks_of(generator, training),
        sources=[asdict(source) for source in clips.config.sources],
        **provenance(),
    )


def with_frame_scores(fvd: ResultCard, scores: Mapping[str, float], lpips_net: str, of: str = "") -> list[ResultCard]:
    """A card of FVD, and those of the PSNR, SSIM and LPIPS of the same clips; `of` says which of their frames count."""
    pixels = replace(fvd.protocol, metric=f"PSNR, SSIM{of}", network=None, resize=TO_SIZE)
    network = Network(f"lpips-{lpips_net}", lpips.PACKAGE.sha256)
    return [
        fvd,
        replace(fvd, protocol=pixels, numbers={name: scores[name] for name in ("psnr", "ssim")}),
        replace(
            fvd, protocol=replace(pixels, metric=f"LPIPS{of}", network=network), numbers={"lpips": scores["lpips"]}
        ),
    ]


def fvd_numbers(scores: FVDScores) -> dict[str, float | None]:
    """FVD's numbers as cards have them; the floor is of real clips against others, `floor_clips` on each side."""
    return {
        "fvd": scores.fvd,
        "fvd_low": scores.fvd_interval.low,
        "fvd_high": scores.fvd_interval.high,
        "fvd_infinity": scores.fvd_infinity,
        "fvd_floor": scores.fvd_floor,
        "floor_clips": scores.floor_clips,
        "kvd": scores.kvd,
        "kvd_std": scores.kvd_std,
    }


def networks_of(generator: "VideoGenerator", training: str | None) -> tuple[str, ...] | None:
    """Networks in the losses of a generator's tokenizer; None: not known.

    Without the path of its `training.json`, a shipped tokenizer's is known by its name.
    """
    if training is not None:
        return trained_by(Path(training))
    name = decoder_of(generator)[0]
    return trained_by(VideoTokenizer.KIND.find(name) / TRAINING) if VideoTokenizer.KIND.ships(name) else None


def decoder_of(generator: "VideoGenerator") -> tuple[str, str]:
    """Name and checksum of what makes videos of a generator's tokens."""
    tokenizer, form = generator.tokenizer, generator.config.tokens
    return (form.model, form.checksum) if tokenizer is None else (tokenizer.name, tokenizer.checksum)


def trained_by(training: Path) -> tuple[str, ...] | None:
    """Networks in the losses of a tokenizer, as its `training.json` says; None where there is no such file.

    Raises:
        RecordError: it does not say.
    """
    if not training.exists():
        return None
    config = TrainingRecord.read(training).config
    try:
        found = [f"lpips-{config['loss']['lpips_net']}"] if config["loss"]["perceptual"] else []
        if semantic := config.get("semantic"):
            found.append(semantic["model"]["encoder"]["name"])
        if alignment := config.get("alignment"):
            found.append(alignment["model"]["teacher"]["name"])
    except (KeyError, TypeError) as error:
        raise RecordError(f"{training} does not say what losses there were: {error}") from error
    return tuple(found)


def write_cards(path: Path, cards: Sequence[ResultCard]) -> None:
    """Writes cards as JSON."""
    write_json(path, [asdict(card) for card in cards])


def read_cards(path: Path) -> list[ResultCard]:
    """The cards in a file that `write_cards` wrote; RecordError for any other."""
    try:
        return [from_dict(ResultCard, entries) for entries in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, TypeError, ValueError) as error:
        raise RecordError(f"{path} holds no cards of results: {error}") from error


def results_table(files: Sequence[Path], columns: Sequence[str]) -> str:
    """Numbers of several files of cards, named by their folders; a row for each way of sampling or giving lengths.

    Raises:
        RecordError: a file holds no cards.
        ValueError: numbers of a column are of different protocols, or one is not there.
    """
    rows = [row for path in files for row in card_rows(path.resolve().parent.name, read_cards(path))]
    return cards_table(rows, columns)


def card_rows(name: str, cards: Sequence[ResultCard]) -> list[tuple[str, list[ResultCard]]]:
    """The cards of a model as rows of a table: one for each way of sampling or of giving lengths."""
    rows: dict[str, list[ResultCard]] = {}
    several = len({str(card.sampling) for card in cards}) > 1
    for card in cards:
        said = "".join(f", {key} {value}" for key, value in card.sampling.items()) if several else ""
        rows.setdefault(name + said, []).append(card)
    return list(rows.items())


def measuring_device() -> torch.device:
    """The accelerator, if there is one."""
    return torch.accelerator.current_accelerator() or torch.device("cpu")
