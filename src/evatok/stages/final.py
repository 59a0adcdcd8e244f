"""Stage 4: the final tokenizer, trained under the assignments that a frozen router gives (paper, section 3)."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from evatok.stages.adversaries import SemanticTrainingConfig, semantic_adversary
from evatok.stages.lengths import LengthsByRouter, LengthsConfig
from evatok.stages.tokenizer import TokenizerTask, TokenizerTrainingConfig, check_joins, with_model_of_start
from evatok.stages.tokenizer_validation import lpips_of, validate_at
from evatok.training.loop import train
from evatok.training.task import Validation
from evatok.utils.ranks import rank_and_world


@dataclass(frozen=True)
class FinalConfig(TokenizerTrainingConfig):
    """Everything about the training of a final tokenizer.

    Args:
        lengths: who gives clips their lengths.
        semantic: a discriminator on a frozen encoder's features, and the adversarial loss by it; None: none. The proxy
            has none, for it worsens LPIPS, by which lengths are weighed.
    """

    lengths: LengthsConfig = field(kw_only=True)
    semantic: SemanticTrainingConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.semantic is not None:
            check_joins("semantic", self.semantic.loss, self.loop)


def train_final(config: FinalConfig, resume: bool = False) -> Path:
    """Trains a final tokenizer; returns the folder of the result, which `VideoTokenizer.from_pretrained` reads.

    Raises what `train_proxy` raises; ValueError where the router is not of the model's assignments.
    """
    torch.manual_seed(config.loop.seed)
    config = with_model_of_start(config)
    return train(FinalTask(config), config, resume, validate_first=config.init_from is not None)


class FinalTask(TokenizerTask):
    """Reconstruction under what a router knows; the trained tokenizer holds this router."""

    def __init__(self, config: FinalConfig) -> None:
        self.lengths = LengthsByRouter(config.lengths, config.model.space)
        semantic = {} if config.semantic is None else {"semantic": semantic_adversary(config.semantic)}
        super().__init__(config, self.lengths, semantic)

    def validate(self, step: int) -> Validation:
        """As a proxy's, and at the router's own preference under the lengths that clips have then."""
        found, network = super().validate(step), self.trained["tokenizer"].averaged()
        lpips, w_q = lpips_of(self.loss, network.device), self.lengths.router.calibration.w_q
        scalars = validate_at(network, self.validation, lpips, w_q, self.lengths)
        return replace(found, scalars=found.scalars | scalars)

    def save(self, folder: Path) -> None:
        """Writes the averaged tokenizer and, where that chose the lengths, its router."""
        network = self.trained["tokenizer"].averaged()
        if rank_and_world()[0] == 0:
            if self.lengths.config.by == "router":
                network.set_router(self.lengths.router)
            network.save_pretrained(folder)
