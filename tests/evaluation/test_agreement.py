"""Whether the classes of generated clips are found."""

import pytest
import torch
from torch import Tensor

from evatok.evaluation.agreement import class_agreement

CLASSES = ("chess", "pong", "tennis")


def clips(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features of clips whose classes lie apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(CLASSES)
    centres = 3 * torch.randn(len(CLASSES), 40, generator=torch.Generator().manual_seed(0))
    return centres[labels] + torch.randn(count, 40, generator=generator), labels


def test_right_and_wrong_classes() -> None:
    found = class_agreement(clips(60, 1), clips(30, 2), clips(30, 3), CLASSES)
    assert (found.held_out, found.generated, found.right) == (1, 1, 1)
    assert found.by_class == dict.fromkeys(CLASSES, 1)
    assert "60 real clips of 3 classes" in found.classifier

    # Chess becomes tennis in two of three cases.
    features, labels = clips(30, 3)
    chess, tennis = ((labels == n).nonzero()[:, 0] for n in (0, 2))
    features[chess[:7]] = features[tennis[:7]]
    found = class_agreement(clips(60, 1), clips(30, 2), (features, labels), CLASSES)
    assert found.by_class == pytest.approx({"chess": 0.3, "pong": 1, "tennis": 1})
    assert (found.generated, found.right) == pytest.approx((23 / 30, 2 / 3))


def test_a_class_that_was_not_asked_for_does_not_count() -> None:
    features, labels = clips(30, 3)
    asked = labels != 1
    found = class_agreement(clips(60, 1), clips(30, 2), (features[asked], labels[asked]), CLASSES)
    assert found.by_class == {"chess": 1, "tennis": 1} and found.right == 1


def test_features_that_do_not_vary_or_say_nothing() -> None:
    features, labels = clips(60, 1)
    features[:, 3] = 5
    assert class_agreement((features, labels), (features, labels), (features, labels), CLASSES).held_out == 1
    noise = torch.randn(300, 40, generator=torch.Generator().manual_seed(9))
    found = class_agreement(clips(60, 1), clips(30, 2), (noise, torch.arange(300) % 3), CLASSES)
    assert 0.2 < found.generated < 0.5
