"""Alignment in the training of a tokenizer: the frozen teacher, and the head that is trained beside the tokenizer."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from evatok.losses.alignment import AlignmentConfig, AlignmentHead
from evatok.pretrained.encoders import load_encoder
from evatok.tokenizer.config import TokenizerConfig
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Trained


@dataclass(frozen=True)
class AlignmentTrainingConfig:
    """Alignment of the decoder with a frozen encoder.

    Args:
        model: teacher, layers and weight.
        optimizer: how the head is updated.
    """

    model: AlignmentConfig = field(default_factory=AlignmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


class Aligner:
    """The teacher, which stays as it is, and the head.

    The head is a model of its own for the loop. So its losses are asked for twice: within the tokenizer's, where the
    head stands still, and by itself of the same features: the gradients are those of training both at once.
    """

    def __init__(self, config: AlignmentTrainingConfig, model: TokenizerConfig) -> None:
        self._teacher = load_encoder(config.model.teacher)
        head = AlignmentHead(config.model, model, self._teacher)
        self.trained = Trained(head, config.optimizer, None)
        self.layer, self._of_teacher = head.layer, head.teacher_layer

    @torch.no_grad()
    def known(self, video: Tensor) -> Tensor:
        """What the teacher sees in clips `(B, F, 3, H, W)` in [-1, 1]: `(B, t, h, w, C)`."""
        [found] = self._teacher.to(video.device).features(video, [self._of_teacher])
        return found
