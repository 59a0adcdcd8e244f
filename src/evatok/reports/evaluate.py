"""Evaluation of a tokenizer on held-out clips: a table, and a record of all that makes its numbers."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from evatok.data.clips import ClipBatch, held_out_clips
from evatok.data.sources import SourceConfig, open_source
from evatok.evaluation.equal_bits import x264_at_equal_bits
from evatok.evaluation.reconstruction import evaluate_reconstruction
from evatok.evaluation.result_card import cards_table
from evatok.pretrained.i3d import I3D
from evatok.pretrained.lpips import LPIPS
from evatok.reports.card import TRAINING
from evatok.reports.generated import CARDS, card_rows, measuring_device, trained_by, write_cards
from evatok.reports.reconstruction_cards import reconstruction_cards
from evatok.reports.record import EvaluatedSource, EvaluationRecord, keys_digest, provenance
from evatok.reports.tables import (
    blocks_table,
    codes_sentence,
    order_sentence,
    scores_table,
    x264_sentence,
    x264_table,
)
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.configs import check_least

_COLUMNS = ("fvd", "fvd_low", "fvd_high", "fvd_infinity", "fvd_floor", "psnr", "ssim", "lpips")


@dataclass(frozen=True)
class EvaluationConfig:
    """What is evaluated, and on which clips.

    Args:
        tokenizer: a shipped tokenizer's name, a folder that holds one, or a hub's repository.
        sources: where the clips come from, each under its own name.
        folder: where `evaluation.json` is written.
        split: what these clips were to the tokenizer; recorded with the numbers.
        clips: clips of each source, spread evenly over its videos.
        size: height and width of the clips, multiples of the patch: largest centre crops are resized.
        step: distance between the frames of a clip, in frames of the source.
        seed: decides at which frame of its video a clip starts.
        lpips_net: the network of LPIPS, `alex` (cheap, for CPUs) or `vgg`.
        assignments: full assignments, such as [[8, 8, 8, 8]]; None: every uniform one.
        fvd: whether FVD is measured too, at each assignment: about a second a clip and assignment on two CPU cores.
        w_q: preferences at which the lengths of the tokenizer's router are measured too, in all that cards have.
        training: the tokenizer's `training.json`, which says what networks trained it; None: beside its weights.
        x264: whether x264 is scored too, on the same clips at no more bits than the tokens of each assignment take.
        credits: whom to name for the data; recorded with the numbers and shown in the card.
    """

    tokenizer: str
    sources: list[SourceConfig]
    folder: str
    split: str = "validation"
    clips: int = 96
    size: tuple[int, int] = (64, 64)
    step: int = 1
    seed: int = 0
    lpips_net: Literal["alex", "vgg"] = "alex"
    assignments: list[list[int]] | None = None
    fvd: bool = False
    w_q: list[float] = field(default_factory=list)
    training: str | None = None
    x264: bool = True
    credits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources names none; give at least one, such as [{folder: my/videos}]")
        check_least(self, 1, "clips", "step")
        check_least(self, 0, "seed")
        if self.fvd or self.w_q:
            check_least(self, 2, "clips")
        if min(self.size) < 1:
            raise ValueError(f"size must be a positive height and width, got {self.size}")


def evaluate(config: EvaluationConfig) -> Path:
    """Evaluates a tokenizer, prints the table, and returns the path of the `evaluation.json` that it wrote.

    Where FVD or the router's lengths are asked for, `cards.json` beside it has these.

    Raises:
        CheckpointError: if there is no such tokenizer.
        ValueError: if a source cannot be opened, two have one name, or size or assignments do not fit.
        VideoError: if no clip can be read.
    """
    device = measuring_device()
    tokenizer = VideoTokenizer.from_pretrained(config.tokenizer, device=device)
    if config.w_q and tokenizer.router is None:
        raise ValueError(f"w_q asks for a router's lengths, and {tokenizer.name} has no router")
    folder = Path(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    sources, frames = [open_source(each) for each in config.sources], tokenizer.config.clip_frames
    print(f"Reading {config.clips} clips of {', '.join(source.name for source in sources)}", file=sys.stderr)
    clips = held_out_clips(sources, config.clips, config.size, frames, config.step, config.seed)
    lpips = LPIPS.from_pretrained(config.lpips_net).to(device)
    result = evaluate_reconstruction(tokenizer, clips, lpips, config.assignments, progress=True)
    assignments, x264 = [scores.assignment for scores in result.sources[0].scores], None
    if config.x264:
        x264 = x264_at_equal_bits(clips, assignments, tokenizer.config.quantizer.codebook_size, lpips, progress=True)
    record = EvaluationRecord(
        tokenizer=tokenizer.name,
        checksum=tokenizer.checksum,
        split=config.split,
        sources=tuple(
            EvaluatedSource(name, asdict(source), len(batch), keys_digest(batch.keys))
            for (name, batch), source in zip(clips.items(), config.sources, strict=True)
        ),
        frames=tokenizer.config.clip_frames,
        frame_step=config.step,
        size=config.size,
        seed=config.seed,
        lpips_net=config.lpips_net,
        credits=tuple(config.credits),
        result=result,
        x264=x264,
        **provenance(),
    )
    path = folder / "evaluation.json"
    record.write(path)
    print(_report(record))
    ways: list[dict[str, Any]] = [{"assignment": list(each)} for each in assignments] if config.fvd else []
    ways += [{"w_q": each} for each in config.w_q]
    if ways:
        _write_cards(config, ways, tokenizer, clips, lpips)
    return path


def _write_cards(
    config: EvaluationConfig,
    ways: list[dict[str, Any]],
    tokenizer: VideoTokenizer,
    clips: Mapping[str, ClipBatch],
    lpips: LPIPS,
) -> None:
    """Measures, writes `cards.json` and prints a table for each source."""
    i3d = I3D.from_pretrained().to(measuring_device())
    networks = trained_by(Path(config.training or VideoTokenizer.KIND.find(config.tokenizer) / TRAINING))
    cards = {
        name: reconstruction_cards(
            tokenizer, lpips, i3d, batch, ways, asdict(source), config.split, config.step, networks
        )
        for (name, batch), source in zip(clips.items(), config.sources, strict=True)
    }
    write_cards(Path(config.folder) / CARDS, [card for some in cards.values() for card in some])
    for name, some in cards.items():
        print(f"\n{name}:\n\n{cards_table(card_rows(tokenizer.name, some), _COLUMNS)}")


def _report(record: EvaluationRecord) -> str:
    result, blocks = record.result, blocks_table(record.result)
    parts = [result.protocol, scores_table(result), f"{codes_sentence(result)}\n{order_sentence(result)}"]
    parts += ["PSNR / LPIPS by block:", blocks] if blocks else []
    if record.x264 is not None:
        parts += [x264_table(result, record.x264), x264_sentence(record.x264)]
    return "\n\n".join(map(str, parts))
