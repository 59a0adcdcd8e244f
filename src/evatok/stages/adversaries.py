"""Discriminators in the training of a tokenizer: what each looks at, and the losses of both sides."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from evatok.losses.adversarial import AdversarialConfig, AdversarialLoss
from evatok.losses.augmentation import AugmentationConfig, augmented, shifted
from evatok.losses.discriminator import PatchDiscriminator, PatchDiscriminatorConfig
from evatok.losses.semantic import SemanticDiscriminator, SemanticDiscriminatorConfig
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Trained

# Changes versions of the same clips `(versions, B, F, 3, H, W)` alike, by what the generator draws.
View = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class PatchTrainingConfig:
    """A discriminator of space-time patches.

    Args:
        model: the discriminator.
        loss: both sides' losses.
        optimizer: how it is updated.
        augment: how real and reconstructed clips are changed alike before it looks at them; None: not at all.
    """

    model: PatchDiscriminatorConfig = field(default_factory=PatchDiscriminatorConfig)
    loss: AdversarialConfig = field(default_factory=AdversarialConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentationConfig | None = field(default_factory=AugmentationConfig)


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

    def of_tokenizer(self, step: int, reconstruction: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
        """The tokenizer's weighted loss; `others` is the sum of its losses of reconstruction."""
        seen = self._view(reconstruction[None], generator)[0]
        loss = self.loss.tokenizer(self.trained.network(seen))
        if self.loss.config.adaptive:
            loss = loss * self.loss.adaptive_factor(others, loss, reconstruction)
        return self.loss.weight_at(step) * loss

    def own(self, video: Tensor, reconstruction: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The discriminator's losses of clips and of their reconstructions, which need no gradient."""
        seen = self._view(torch.stack([video, reconstruction]), generator)
        real, fake = self.trained.model(seen.flatten(0, 1)).chunk(2)
        return self.loss.to(real.device).discriminator(real, fake)


def patch_adversary(config: PatchTrainingConfig) -> Adversary:
    """A discriminator of patches."""

    def view(versions: Tensor, generator: torch.Generator) -> Tensor:
        return versions if config.augment is None else augmented(versions, generator, config.augment)

    return Adversary(PatchDiscriminator(config.model), config.loss, config.optimizer, view)


def semantic_adversary(config: SemanticTrainingConfig) -> Adversary:
    """A discriminator of a frozen encoder's features."""

    def view(versions: Tensor, generator: torch.Generator) -> Tensor:
        return shifted(versions, generator, config.shift)

    return Adversary(SemanticDiscriminator(config.model), config.loss, config.optimizer, view)
