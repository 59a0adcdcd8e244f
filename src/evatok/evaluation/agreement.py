"""Whether generated clips are of the class that was asked for, by a linear classifier of real clips' features."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Of the ridge, relative to the mean variance of the features, which are standardised.
_RIDGE = 0.1


@dataclass(frozen=True)
class ClassAgreement:
    """How often a classifier of real clips finds the class that was asked for.

    Args:
        held_out: share of held-out real clips whose class it finds: the most that generated ones may hope for.
        generated: share of the generated clips.
        by_class: that of each class.
        right: share of the classes of which more generated clips are found than of any other class.
        classifier: what it is and what it was fitted to.
    """

    held_out: float
    generated: float
    by_class: dict[str, float]
    right: float
    classifier: str


class LinearClassifier:
    """Ridge regression of the classes on standardised features, in float64.

    Args:
        features: `(N, D)` of real clips.
        labels: int64 `(N,)`, from 0 on.
        classes: their number.
    """

    def __init__(self, features: Tensor, labels: Tensor, classes: int) -> None:
        x = features.double().cpu()
        self._mean, self._std = x.mean(0), x.std(0).clamp(min=1e-6)
        x = self._standardised(x)
        wanted = torch.nn.functional.one_hot(labels, classes).double()
        self._offset = wanted.mean(0)
        ridge = _RIDGE * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
        self._weights = torch.linalg.solve(x.T @ x + ridge, x.T @ (wanted - self._offset))

    def __call__(self, features: Tensor) -> Tensor:
        """The classes `(N,)` that it finds."""
        return (self._standardised(features.double().cpu()) @ self._weights + self._offset).argmax(1)

    def _standardised(self, features: Tensor) -> Tensor:
        return (features - self._mean) / self._std


def class_agreement(
    real: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor], classes: tuple[str, ...]
) -> ClassAgreement:
    """Fits a classifier to real clips, and says of how many held-out and generated ones it finds the class.

    Each side is features `(N, D)` and labels int64 `(N,)`, of clips of these classes alone.
    """
    classifier = LinearClassifier(*real, len(classes))
    found, asked = classifier(fake[0]), fake[1]
    confusion = torch.zeros(len(classes), len(classes)).index_put_(
        (asked, found), torch.ones(len(asked)), accumulate=True
    )
    shown = [number for number in range(len(classes)) if confusion[number].any()]
    return ClassAgreement(
        held_out=(classifier(held_out[0]) == held_out[1]).double().mean().item(),
        generated=(found == asked).double().mean().item(),
        by_class={classes[n]: (confusion[n, n] / confusion[n].sum()).item() for n in shown},
        right=sum(int(confusion[n].argmax()) == n for n in shown) / len(shown),
        classifier=f"ridge regression on I3D logits, {len(real[0])} real clips of {len(classes)} classes",
    )
