"""Adversarial losses: hinge (Lim & Ye 2017), LeCAM (Tseng et al. 2021), and when and how much they weigh."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evatok.utils.configs import check_between, check_least
from evatok.utils.ranks import mean_over_ranks

_SMALLEST = 1e-12  # what is divided by at least


@dataclass(frozen=True)
class AdversarialConfig:
    """When an adversarial loss joins, and how much it weighs.

    Args:
        weight: of the tokenizer's adversarial loss; the paper's discriminator is LARP's, with 0.3.
        start: first step of the training in which the discriminator learns, and the tokenizer from it.
        ramp: steps from `start` on over which the tokenizer's weight rises from 0, so that the discriminator leads.
        lecam: weight of LeCAM regularisation of the discriminator; 0 leaves it out.
        lecam_decay: of its running averages, a discriminator's loss; below 1.
        adaptive: whether the weight is multiplied by the ratio of the norms of the gradients, by the video, of the
            reconstruction losses and of the adversarial one (Esser et al. 2021, there by the last layer).
        adaptive_most: that factor at most.
    """

    weight: float = 0.3
    start: int = 0
    ramp: int = 1000
    lecam: float = 0.001
    lecam_decay: float = 0.99
    adaptive: bool = False
    adaptive_most: float = 10.0

    def __post_init__(self) -> None:
        check_least(self, 0, "weight", "start", "ramp", "lecam")
        check_between(self, 0, 1, "lecam_decay")
        if self.lecam_decay == 1:
            raise ValueError("lecam_decay must be below 1, or averages never change, got 1")
        if not self.adaptive_most > 0:
            raise ValueError(f"adaptive_most must be positive, got {self.adaptive_most}")


class AdversarialLoss(nn.Module):
    """Hinge losses of a tokenizer and of a discriminator, in float32, each a mean over clips.

    Its only state is LeCAM's averages, in `state_dict`: a task's `state_dict` has them, so that a resume goes on alike.
    """

    averages: Tensor

    def __init__(self, config: AdversarialConfig) -> None:
        super().__init__()
        self.config = config
        # Weighted sums of the mean logits of real and of fake clips, and of the weights: no average begins at 0.
        self.register_buffer("averages", torch.zeros(3))

    def weight_at(self, step: int) -> float:
        """Weight of the tokenizer's loss: 0 up to `start`, from which it rises for `ramp` steps."""
        since, ramp = step - self.config.start, self.config.ramp
        if since < 0:
            return 0.0
        return self.config.weight * (min(since / ramp, 1.0) if ramp else 1.0)

    def tokenizer(self, logits_fake: Tensor) -> Tensor:
        """The tokenizer's loss, without its weight, by the logits `(B, ...)` of its reconstructions."""
        with torch.autocast(logits_fake.device.type, enabled=False):
            return -_by_clip(logits_fake.float()).mean()

    def discriminator(self, logits_real: Tensor, logits_fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's weighted losses by name, `hinge` and, where it has a weight, `lecam`.

        In training `lecam` moves its averages first, by the clips of all processes: all must call this.

        Args:
            logits_real: of original clips, `(B, ...)`.
            logits_fake: of reconstructions, `(B, ...)`, which need not be as many.
        """
        with torch.autocast(logits_real.device.type, enabled=False):
            real, fake = logits_real.float(), logits_fake.float()
            losses = {"hinge": _by_clip(F.relu(1 - real)).mean() + _by_clip(F.relu(1 + fake)).mean()}
            if self.config.lecam:
                if self.training:
                    self._move_averages(real.detach(), fake.detach())
                losses["lecam"] = self.config.lecam * self._lecam(real, fake)
        return losses

    def adaptive_factor(self, reconstruction: Tensor, adversarial: Tensor, video: Tensor) -> Tensor:
        """How much larger the gradient of one loss by the video is than that of another, at most `adaptive_most`.

        Norms are those over the clips of all processes, which all must call this. The graphs stay.

        Args:
            reconstruction: sum of the weighted reconstruction losses.
            adversarial: the tokenizer's loss, without its weight.
            video: the reconstruction that both are of, as the decoder gave it.
        """
        gradients = [torch.autograd.grad(loss, video, retain_graph=True)[0] for loss in (reconstruction, adversarial)]
        with torch.autocast(video.device.type, enabled=False):
            squares = torch.stack([gradient.float().square().sum() for gradient in gradients])
            wanted, found = mean_over_ranks(squares).sqrt()
            return (wanted / (found + _SMALLEST)).clamp(max=self.config.adaptive_most)

    def _lecam(self, real: Tensor, fake: Tensor) -> Tensor:
        """Squares of how far real logits exceed the average fake one, and fake ones fall short of the average real one.

        The paper's squares are of both signs; those of its authors' code, as here, are of the side that is too sure.
        """
        average_real, average_fake = self.averages[:2] / self.averages[2].clamp(min=_SMALLEST)
        return (
            _by_clip(F.relu(real - average_fake).square()).mean()
            + _by_clip(F.relu(average_real - fake).square()).mean()
        )

    @torch.no_grad()
    def _move_averages(self, real: Tensor, fake: Tensor) -> None:
        now = mean_over_ranks(torch.stack([real.mean(), fake.mean(), torch.ones_like(real.mean())]))
        moved = self.averages.lerp(now.to(self.averages), 1 - self.config.lecam_decay)
        # The loop leaves out a step with logits that are not finite: the averages must outlast it.
        self.averages.copy_(torch.where(now.isfinite().all(), moved, self.averages))


def _by_clip(values: Tensor) -> Tensor:
    """Means `(B,)` of the values `(B, ...)` of each clip."""
    return values.flatten(1).mean(1)
