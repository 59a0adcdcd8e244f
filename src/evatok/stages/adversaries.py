"""Discriminators in the training of a tokenizer: what each looks at, and the losses of both sides."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from evatok.losses.adversarial import AdversarialConfig, AdversarialLoss
from evatok.losses.augmentation import augmented, shifted
from evatok.losses.discriminator import PatchDiscriminator, PatchDiscriminatorConfig
from evatok.losses.semantic import SemanticDiscriminator, SemanticDiscriminatorConfig
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Trained

# Changes videos of the same clips `(B, F, 3, H, W)` alike, by what the generator draws.
View = Callable[[list[Tensor], torch.Generator], list[Tensor]]


@dataclass(frozen=True)
class PatchTrainingConfig:
    """A discriminator of space-time patches.

    Args:
        model: the discriminator.
        loss: both sides' losses.
        optimizer: how it is updated.
        augment: whether real and reconstructed clips are changed alike before it looks at them.
    """

    model: PatchDiscriminatorConfig = field(default_factory=PatchDiscriminatorConfig)
    loss: AdversarialConfig = field(default_factory=AdversarialConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: bool = True


@dataclass(frozen=True)
class SemanticTrainingConfig:
    """A discriminator of what a frozen video encoder makes of clips (paper, stage 4).

    Args:
        model: the encoder, and the heads on it.
        loss: both sides' losses.
        optimizer: how the heads are updated.
        shift: pixels by which clips are moved at most before the encoder, which else can be fooled by speckles on the
            patch grid.
    """

    model: SemanticDiscriminatorConfig = field(default_factory=SemanticDiscriminatorConfig)
    loss: AdversarialConfig = field(default_factory=AdversarialConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    shift: int = 4


class Adversary:
    """A discriminator, its training, and what the tokenizer owes to it.

    Args:
        network: videos `(B, F, 3, H, W)` to logits `(B, ...)`.
        loss: both sides' losses.
        optimizer: how it is updated.
        view: what becomes of videos before.
    """

    def __init__(self, network: nn.Module, loss: AdversarialConfig, optimizer: OptimizerConfig, view: View) -> None:
        self.trained = Trained(network, optimizer, None)
        self.loss, self._view = AdversarialLoss(loss), view

    @property
    def start(self) -> int:
        """First step in which it takes part."""
        return self.loss.config.start

    def joined(self, step: int) -> bool:
        """Whether it takes part in a step."""
        return step >= self.start

    def of_tokenizer(self, step: int, reconstruction: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
        """The tokenizer's weighted loss; `others` is the sum of its losses of reconstruction."""
        [seen] = self._view([reconstruction], generator)
        loss = self.loss.tokenizer(self.trained.network(seen))
        if self.loss.config.adaptive:
            loss = loss * self.loss.adaptive_factor(others, loss, reconstruction)
        return self.loss.weight_at(step) * loss

    def own(self, video: Tensor, reconstruction: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The discriminator's losses of clips and of their reconstructions, which need no gradient."""
        seen = self._view([video, reconstruction], generator)
        real, fake = self.trained.model(torch.cat(seen)).chunk(2)
        return self.loss.discriminator(real, fake)


def patch_adversary(config: PatchTrainingConfig) -> Adversary:
    """A discriminator of patches."""
    view = augmented if config.augment else lambda videos, generator: videos
    return Adversary(PatchDiscriminator(config.model), config.loss, config.optimizer, view)


def semantic_adversary(config: SemanticTrainingConfig) -> Adversary:
    """A discriminator of a frozen encoder's features."""

    def view(videos: list[Tensor], generator: torch.Generator) -> list[Tensor]:
        return shifted(videos, generator, config.shift)

    return Adversary(SemanticDiscriminator(config.model), config.loss, config.optimizer, view)
