"""Cards of a tokenizer's reconstructions, with rFVD: at fixed lengths, and at those of its router."""

from collections.abc import Sequence
from typing import Any

import torch
from tqdm import tqdm

from evatok.data.clips import ClipBatch
from evatok.evaluation.fvd import fvd_scores
from evatok.evaluation.metrics import Means, clip_scores
from evatok.evaluation.result_card import Protocol, ResultCard
from evatok.pretrained.i3d import I3D
from evatok.pretrained.lpips import LPIPS
from evatok.reports.generated import I3D_NETWORK, TO_I3D, fvd_numbers, with_frame_scores
from evatok.reports.real_clips import TOGETHER, logits_of
from evatok.reports.record import keys_digest, provenance
from evatok.tokenizer.model import VideoTokenizer


def reconstruction_cards(
    tokenizer: VideoTokenizer,
    lpips: LPIPS,
    i3d: I3D,
    clips: ClipBatch,
    ways: Sequence[dict[str, Any]],
    source: dict[str, Any],
    split: str,
    step: int,
    trained_by: tuple[str, ...] | None,
) -> list[ResultCard]:
    """The cards of a tokenizer's reconstructions, three for each way of giving clips their lengths.

    Args:
        tokenizer: the tokenizer.
        lpips: the network of LPIPS, on its device.
        i3d: that of FVD, on its device.
        clips: of one source.
        ways: each the arguments of `VideoTokenizer.encode` that decide about lengths.
        source: its config.
        split: what the clips are.
        step: distance between their frames.
        trained_by: networks in the tokenizer's losses; None: not known.

    Raises:
        ValueError: there is no such assignment, or a router is asked for and there is none.
    """
    size = (clips.video.shape[-2], clips.video.shape[-1])
    protocol = Protocol(
        task="reconstruction",
        metric="FVD",
        network=I3D_NETWORK,
        real_split=split,
        real_sha256=keys_digest(clips.keys),
        real_clips=len(clips),
        fake_clips=len(clips),
        frames=clips.video.shape[1],
        frame_step=step,
        fps=None,
        size=size,
        measured_size=size,
        resize=TO_I3D,
    )
    parts = clips.video.split(TOGETHER)
    real = torch.cat([logits_of(i3d, part, size) for part in tqdm(parts, desc="I3D of real clips")])
    cards = []
    for way in ways:
        means, logits, tokens = Means(), [], 0
        for part in tqdm(parts, desc="rFVD at " + ", ".join(f"{name} {value}" for name, value in way.items())):
            coded = tokenizer.encode(part, fit="none", **way)
            video = tokenizer.decode(coded)
            tokens += coded.num_tokens
            logits.append(logits_of(i3d, video, size))
            means.add(**clip_scores(part.to(tokenizer.device), video.to(tokenizer.device), lpips)._asdict())
        fvd = ResultCard(
            protocol,
            fvd_numbers(fvd_scores(real, torch.cat(logits), paired=True)),
            tokenizer=(tokenizer.name, tokenizer.checksum),
            generator=None,
            tokens=tokens / len(clips),
            sampling=way,
            trained_by=trained_by,
            sources=[source],
            **provenance(),
        )
        scores = {name: mean.item() for name, mean in means.compute().items()}
        cards += with_frame_scores(fvd, scores, lpips.network)
    return cards
