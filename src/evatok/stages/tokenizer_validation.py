"""Validation of a tokenizer under training: held-out clips at every uniform length, or as a router says, by source."""

import torch
from torch import Tensor

from evatok.data.clips import ClipBatch
from evatok.evaluation.metrics import Means, clip_scores
from evatok.evaluation.reconstruction import evaluate_reconstruction, reconstruct
from evatok.evaluation.seams import patch_energy
from evatok.figures.frames import reconstruction_sheet
from evatok.losses.reconstruction import ReconstructionLoss
from evatok.nn.packed import Layout
from evatok.pretrained.lpips import LPIPS
from evatok.stages.lengths import LengthsByRouter
from evatok.tokenizer.network import TokenizerNetwork
from evatok.training.task import Validation
from evatok.utils.ranks import gathered, rank_and_world
from evatok.video.fit import to_signed

CLIPS_SHOWN = 4
_TOGETHER = 8


def validate(network: TokenizerNetwork, sources: dict[str, ClipBatch], loss: ReconstructionLoss) -> Validation:
    """Scores at every uniform length, codes used, and originals above their reconstructions, by source."""
    if not sources:
        return Validation({})
    result = evaluate_reconstruction(network, sources, lpips_of(loss, network.device))
    scalars = {}
    for source in result.sources:
        for scores in source.scores:
            for metric in ("psnr", "ssim", "lpips", "l1"):
                scalars[f"{source.name}/{metric}/{scores.uniform}"] = getattr(scores, metric)
        scalars[f"{source.name}/codes"] = source.codes.used
    for level, codes in zip(network.config.levels, result.codes_by_assignment, strict=True):
        scalars[f"codes/used/{level}"], scalars[f"codes/perplexity/{level}"] = codes.used, codes.perplexity
    scalars["codes/used"], scalars["codes/perplexity"] = result.codes.used, result.codes.perplexity
    return Validation(scalars, {name: _picture(network, batch) for name, batch in sources.items()})


def lpips_of(loss: ReconstructionLoss, device: torch.device) -> LPIPS:
    """The LPIPS that a loss has or, where it has none, would have."""
    return (loss.lpips or LPIPS.from_pretrained(loss.config.lpips_net)).to(device)


def validate_at(
    network: TokenizerNetwork, sources: dict[str, ClipBatch], lpips: LPIPS, w_q: float, lengths: LengthsByRouter
) -> dict[str, float]:
    """Scores, tokens and how far patches show, by source, where a preference says how long clips are."""
    scalars = dict[str, float]()
    number, processes = rank_and_world()
    for name, batch in sources.items():
        means = Means()
        for clips in batch.video[number::processes].to(network.device).split(_TOGETHER):
            rows = lengths.at(to_signed(clips), [w_q] * len(clips))
            with torch.autocast(clips.device.type, enabled=False):
                found = reconstruct(network, clips, Layout.of(rows.tolist())).video
            scores = clip_scores(clips, found, lpips)
            borders = patch_energy(found, network.config.patch)
            means.add(psnr=scores.psnr, lpips=scores.lpips, tokens=rows.sum(1).float(), borders=borders)
        total, *others = gathered(means)
        for other in others:
            total.extend(other)
        scalars |= {f"{name}/{what}/w_q {w_q:g}": mean.item() for what, mean in total.compute().items()}
    return scalars


def _picture(network: TokenizerNetwork, batch: ClipBatch) -> Tensor:
    """`(3, H, W)` uint8: middle frames of a few originals above their reconstructions at every uniform length."""
    config = network.config
    clips, middle = batch.video[:CLIPS_SHOWN].to(network.device), config.clip_frames // 2
    uniform = {level: Layout.of([config.space.uniform(level)] * len(clips)) for level in config.levels}
    shown = {
        str(level): reconstruct(network, clips, layout).video[:, middle].cpu() for level, layout in uniform.items()
    }
    return reconstruction_sheet(clips[:, middle].cpu(), shown)
