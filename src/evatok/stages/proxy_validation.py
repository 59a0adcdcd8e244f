"""Validation of a proxy tokenizer: held-out clips at every uniform length, by source."""

import torch
from torch import Tensor

from evatok.data.clips import ClipBatch
from evatok.evaluation.reconstruction import evaluate_reconstruction, reconstruct
from evatok.losses.reconstruction import ReconstructionLoss
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.network import TokenizerNetwork
from evatok.training.task import Validation

CLIPS_SHOWN = 4


def validate(
    network: TokenizerNetwork,
    config: TokenizerConfig,
    sources: dict[str, ClipBatch],
    loss: ReconstructionLoss,
) -> Validation:
    """Scores at every uniform length, codes used, and originals above their reconstructions, by source."""
    if not sources:
        return Validation({})
    lpips = LPIPS.from_pretrained(loss.config.network) if loss.lpips is None else loss.lpips
    result = evaluate_reconstruction(network, config, sources, lpips)
    scalars = {}
    for source in result.sources:
        for scores in source.scores:
            for metric in ("psnr", "ssim", "lpips", "l1"):
                scalars[f"{source.name}/{metric}/{scores.uniform}"] = getattr(scores, metric)
        scalars[f"{source.name}/codes"] = source.codes.used
    for level, codes in zip(config.levels, result.codes_by_assignment, strict=True):
        scalars[f"codes/used/{level}"], scalars[f"codes/perplexity/{level}"] = codes.used, codes.perplexity
    scalars["codes/used"], scalars["codes/perplexity"] = result.codes.used, result.codes.perplexity
    return Validation(scalars, {name: _picture(network, config, batch) for name, batch in sources.items()})


def _picture(network: TokenizerNetwork, config: TokenizerConfig, batch: ClipBatch) -> Tensor:
    """`(3, H, W)` uint8: a column a clip, the middle frame of the original above those of rising lengths."""
    clips = batch.video[:CLIPS_SHOWN].to(network.quantizer.codebook.device)
    videos = [clips] + [reconstruct(network, clips, config.space.uniform(level)).video for level in config.levels]
    frames = torch.stack([video[:, config.clip_frames // 2] for video in videos])
    return frames.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2).cpu()
