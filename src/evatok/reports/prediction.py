"""Evaluation of frame prediction: a generator goes on with the first frames of real clips; what it adds is measured."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from evatok.evaluation.fvd import fvd_scores
from evatok.evaluation.metrics import clip_scores
from evatok.evaluation.result_card import ResultCard, cards_table
from evatok.pretrained.i3d import I3D
from evatok.pretrained.lpips import LPIPS
from evatok.reports.clip_parts import ClipParts, tensor_texts, texts_tensor
from evatok.reports.generated import (
    CARDS,
    SamplingConfig,
    decoder_of,
    generator_card,
    measuring_device,
    with_frame_scores,
    write_cards,
)
from evatok.reports.real_clips import RealClips, RealClipsConfig, at_size, logits_of
from evatok.utils.configs import check_least
from evatok.utils.files import write_json

if TYPE_CHECKING:
    from evatok.generator.model import VideoGenerator

RECORD = "prediction.json"
_SCORES = ("psnr", "ssim", "lpips")


@dataclass(frozen=True)
class PredictionConfig:
    """What is predicted.

    Args:
        generator: a folder that holds one, a shipped one's name, or a hub's repository.
        real: the real clips whose beginnings are given.
        folder: where numbers and cards are written; the same command again goes on there.
        given: frames at the beginning that the generator is given.
        given_lengths: tokens of the blocks that these fill; None: the longest level, then the second longest.
        batch: clips that are predicted, measured and kept together.
        rows: of them that are sampled side by side.
        compile: compiles how tokens are read, which takes minutes first.
        sampling: how the rest is drawn.
        step: distance between the frames of a real clip, in frames of its video.
        measured_size: height and width of the pixels that are measured, of both sides; None: the generator's.
        lpips_net: the network of LPIPS, `alex` (cheap, for CPUs) or `vgg`.
        training: `training.json` of the tokenizer, which says by what networks it was trained; None: that of a shipped
            tokenizer, if it is one.
    """

    generator: str
    real: RealClipsConfig
    folder: str
    given: int = 5
    given_lengths: list[int] | None = None
    batch: int = 64
    rows: int = 16
    compile: bool = False
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    step: int = 1
    measured_size: tuple[int, int] | None = None
    lpips_net: Literal["alex", "vgg"] = "alex"
    training: str | None = None

    def __post_init__(self) -> None:
        check_least(self, 1, "given", "batch", "rows", "step")


def evaluate_prediction(config: PredictionConfig) -> Path:
    """Predicts, measures, prints the table; returns the path of the `prediction.json` that it wrote.

    Only predicted frames count. FVD is of whole clips, since I3D needs them: on both sides their first frames are the
    true ones. PSNR, SSIM and LPIPS are of the predicted frames alone.

    Raises:
        CheckpointError: if there is no such generator.
        ValueError: if a source cannot be opened, more frames are given than a clip has, or the folder is another
            evaluation's.
        VideoError: if no clip can be read.
    """
    from evatok.generator.model import VideoGenerator

    generator = VideoGenerator.from_pretrained(config.generator, device=measuring_device())
    folder, picture, frames = Path(config.folder), generator.config.picture, generator.config.frames
    if config.given >= frames:
        raise ValueError(f"given must be below the generator's {frames} frames, got {config.given}")
    size = config.measured_size or picture
    clips = RealClips(config.real, picture, frames, config.step)
    found = _predicted(config, generator, clips, size)
    cards = _cards(config, generator, clips, size, found)
    # Of sampling and decoding, on whatever else the machine did.
    seconds = found["seconds"].sum().item() / len(clips)
    record = {
        "cards": [asdict(card) for card in cards],
        "seconds_per_video": seconds,
        "device": str(generator.device),
        "config": asdict(config),
    }
    write_cards(folder / CARDS, cards)
    write_json(folder / RECORD, record)
    columns = ["fvd", "fvd_low", "fvd_high", "fvd_infinity", "fvd_floor", "kvd", *_SCORES]
    print(cards_table([("", cards)], columns))
    print(f"\n{seconds:.3g} s a video, as measured on {generator.device}.")
    return folder / RECORD


def _predicted(
    config: PredictionConfig, generator: "VideoGenerator", clips: RealClips, size: tuple[int, int]
) -> dict[str, Tensor]:
    """Logits of both sides, scores of the predicted frames, tokens of blocks, seconds, keys."""
    device = measuring_device()
    i3d, lpips = I3D.from_pretrained().to(device), LPIPS.from_pretrained(config.lpips_net).to(device)
    plan = clips.plan() | {
        "generator": generator.checksum,
        "decoder": decoder_of(generator)[1],
        "given": config.given,
        "given_lengths": config.given_lengths,
        "batch": config.batch,
        "sampling": asdict(config.sampling),
        "measured_size": size,
        "lpips_net": config.lpips_net,
    }
    parts = ClipParts(Path(config.folder) / "predicted", plan)
    lengths = config.given_lengths or []
    # What is 0 is left open.
    assignment = [*lengths, *[0] * (generator.config.grammar.blocks - len(lengths))]

    def part(numbers: range) -> dict[str, Tensor]:
        batch = clips.batch(numbers)
        began = time.perf_counter()
        made = generator.generate(
            frames=batch.video[:, : config.given],
            assignment=assignment,
            first=numbers[0],
            rows=config.rows,
            compile=config.compile,
            progress=False,
            **asdict(config.sampling),
        )
        seconds = time.perf_counter() - began
        fake = torch.cat((batch.video[:, : config.given], made.videos.cpu()[:, config.given :]), 1)
        true, predicted = (at_size(side[:, config.given :], size).to(device) for side in (batch.video, fake))
        return {
            "real": logits_of(i3d, batch.video, size),
            "fake": logits_of(i3d, fake, size),
            **clip_scores(true, predicted, lpips)._asdict(),
            "lengths": made.tokens.lengths,
            "seconds": torch.tensor([seconds], dtype=torch.float64),
            "keys": texts_tensor(batch.keys),
        }

    return parts.measured(len(clips), config.batch, part, "clips")


def _cards(
    config: PredictionConfig,
    generator: "VideoGenerator",
    clips: RealClips,
    size: tuple[int, int],
    found: dict[str, Tensor],
) -> list[ResultCard]:
    """FVD's, and those of the predicted frames' scores."""
    fvd = generator_card(
        "prediction",
        generator,
        clips,
        tensor_texts(found["keys"]),
        size,
        fvd_scores(found["real"], found["fake"], paired=True),
        found["lengths"].sum(1).double().mean().item(),
        asdict(config.sampling) | {"given_lengths": config.given_lengths},
        config.training,
        given_frames=config.given,
    )
    scores = {name: found[name].double().mean().item() for name in _SCORES}
    return with_frame_scores(fvd, scores, config.lpips_net, " of predicted frames")
