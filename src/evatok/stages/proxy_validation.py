"""Validation of a proxy tokenizer: held-out clips at every uniform length, by source."""

import torch
from torch import Tensor

from evatok.data.clips import ClipBatch
from evatok.losses.reconstruction import ReconstructionLoss
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.network import TokenizerNetwork
from evatok.training.task import Validation


@torch.no_grad()
def validate(
    network: TokenizerNetwork, config: TokenizerConfig, batches: dict[str, ClipBatch], loss: ReconstructionLoss
) -> Validation:
    scalars, pictures = {}, {}
    for source, batch in batches.items():
        video = batch.video.float() / 127.5 - 1
        rows = [video[:4, 8]]
        used = torch.zeros(config.quantizer.codes, dtype=torch.bool)
        for level in config.levels:
            l1, lpips, mse = [], [], []
            for part in video.split(16):
                lengths = torch.full((len(part), config.blocks), level)
                out = network(part, lengths)
                y = out.video.clamp(-1, 1)
                used[out.quantized.ids] = True
                l1.append((y - part).abs().flatten(1).mean(1))
                mse.append(((y - part) / 2).square().flatten(1).mean(1))
                lpips.append(loss.lpips(y.flatten(0, 1), part.flatten(0, 1)).view(len(part), -1).mean(1))
                if len(rows) < 6 and part.data_ptr() == video.data_ptr():
                    rows.append(y[:4, 8])
            scalars[f"{source}/lpips/{level}"] = torch.cat(lpips).mean().item()
            scalars[f"{source}/l1/{level}"] = torch.cat(l1).mean().item()
            scalars[f"{source}/psnr/{level}"] = (-10 * torch.cat(mse).log10()).mean().item()
        scalars[f"{source}/codes"] = used.float().mean().item()
        picture = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
        pictures[source] = ((picture + 1) * 127.5).round().clamp(0, 255).byte()
    return Validation(scalars, pictures)
