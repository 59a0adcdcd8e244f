"""Adversarial losses of a tokenizer and of a discriminator: hinge (Lim and Ye 2017), LeCAM (Tseng et al. 2021)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evatok.utils.configs import check_least
from evatok.utils.ranks import mean_over_ranks

# An adaptive weight is at most this many times the weight.
_MOST = 10.0
_EPS = 1e-6


@dataclass(frozen=True)
class AdversarialConfig:
    """Losses of both sides.

    Args:
        weight: of the tokenizer's adversarial loss.
        start: first step in which the discriminator and this loss take part.
        ramp: steps after `start` over which the weight rises from nothing, while the discriminator learns already.
        lecam: weight of LeCAM's regularisation, which holds the discriminator's outputs on clips near its average
            output on reconstructions, and the other way round; 0 leaves it out.
        lecam_decay: decay of these averages per step.
        adaptive: whether the weight is multiplied by how many times the gradient of reconstruction with respect to
            the pixels is larger than that of the adversarial loss, at most 10.
    """

    weight: float = 0.3
    start: int = 0
    ramp: int = 1000
    lecam: float = 0.0
    lecam_decay: float = 0.99
    adaptive: bool = False

    def __post_init__(self) -> None:
        check_least(self, 0, "weight", "start", "ramp", "lecam")
        if not 0 <= self.lecam_decay < 1:
            raise ValueError(f"lecam_decay must be at least 0 and below 1, got {self.lecam_decay}")


class AdversarialLoss(nn.Module):
    """The losses of both sides from a discriminator's logits `(B, ...)`, all in float32.

    What LeCAM remembers is its state: the averages over all processes, and of how many steps they are.
    """

    real: Tensor
    fake: Tensor
    steps: Tensor

    def __init__(self, config: AdversarialConfig) -> None:
        super().__init__()
        self.config = config
        for name in ("real", "fake"):
            self.register_buffer(name, torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def weight_at(self, step: int) -> float:
        """Weight of the tokenizer's loss at a step."""
        since = step - self.config.start
        if since < 0:
            return 0.0
        return self.config.weight * min((since + 1) / max(self.config.ramp, 1), 1.0)

    def tokenizer(self, fake: Tensor) -> Tensor:
        """What the tokenizer wants less of, unweighted: minus the mean logit of its reconstructions, clip by clip."""
        return -fake.float().flatten(1).mean(1).mean()

    def discriminator(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """What the discriminator wants less of; counts as a step for LeCAM, so all processes must call it."""
        real, fake = real.float(), fake.float()
        losses = {"hinge": F.relu(1 - real).mean() + F.relu(1 + fake).mean()}
        if self.config.lecam:
            self._remember(real, fake)
            apart = (real - self.fake).square().mean() + (fake - self.real).square().mean()
            losses["lecam"] = self.config.lecam * apart
        return losses

    @torch.no_grad()
    def _remember(self, real: Tensor, fake: Tensor) -> None:
        now = mean_over_ranks(torch.stack((real.mean(), fake.mean())))
        self.to(now.device)
        # The first steps count alike.
        share = torch.clamp(1 / (self.steps + 1), min=1 - self.config.lecam_decay)
        self.real, self.fake = torch.stack((self.real, self.fake)).lerp(now, share).unbind()
        self.steps = self.steps + 1

    def adaptive_factor(self, others: Tensor, adversarial: Tensor, video: Tensor) -> Tensor:
        """How many times the weight counts where it is adaptive, without a gradient.

        Args:
            others: the tokenizer's other losses, a sum.
            adversarial: the unweighted adversarial loss.
            video: the reconstruction, of which both are functions.
        """
        ours, theirs = (
            torch.autograd.grad(each, video, retain_graph=True)[0].float().norm() for each in (others, adversarial)
        )
        return (ours / (theirs + _EPS)).clamp(max=_MOST).detach()
