"""Validation of a proxy tokenizer: held-out clips at every uniform length, by source."""

from torch import Tensor

from evatok.data.clips import ClipBatch
from evatok.evaluation.reconstruction import evaluate_reconstruction, reconstruct
from evatok.figures.frames import reconstruction_sheet
from evatok.losses.reconstruction import ReconstructionLoss
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.network import TokenizerNetwork
from evatok.training.task import Validation

CLIPS_SHOWN = 4


def validate(network: TokenizerNetwork, sources: dict[str, ClipBatch], loss: ReconstructionLoss) -> Validation:
    """Scores at every uniform length, codes used, and originals above their reconstructions, by source."""
    if not sources:
        return Validation({})
    lpips = LPIPS.from_pretrained(loss.config.lpips_net) if loss.lpips is None else loss.lpips
    result = evaluate_reconstruction(network, sources, lpips)
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


def _picture(network: TokenizerNetwork, batch: ClipBatch) -> Tensor:
    """`(3, H, W)` uint8: middle frames of a few originals above their reconstructions at every uniform length."""
    config = network.config
    clips, middle = batch.video[:CLIPS_SHOWN].to(network.device), config.clip_frames // 2
    shown = {
        str(level): reconstruct(network, clips, config.space.uniform(level)).video[:, middle].cpu()
        for level in config.levels
    }
    return reconstruction_sheet(clips[:, middle].cpu(), shown)
