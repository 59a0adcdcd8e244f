"""Stage 1: the proxy tokenizer, trained under uniformly random assignments (paper, section 3)."""

from dataclasses import dataclass
from pathlib import Path

import torch

from evatok.stages.lengths import RandomLengths
from evatok.stages.tokenizer import TokenizerTask, TokenizerTrainingConfig, with_model_of_start
from evatok.training.loop import train


@dataclass(frozen=True)
class ProxyConfig(TokenizerTrainingConfig):
    """Everything about the training of a proxy tokenizer."""


def train_proxy(config: ProxyConfig, resume: bool = False) -> Path:
    """Trains a proxy tokenizer; returns the folder of the result, which `VideoTokenizer.from_pretrained` reads."""
    torch.manual_seed(config.loop.seed)
    config = with_model_of_start(config)
    return train(ProxyTask(config), config, resume, validate_first=config.init_from is not None)


class ProxyTask(TokenizerTask):
    """Reconstruction under random assignments."""

    def __init__(self, config: ProxyConfig) -> None:
        super().__init__(config, RandomLengths(config.model.space))
