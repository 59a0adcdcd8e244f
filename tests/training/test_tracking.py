"""Trackers by name, and the form in which each takes pictures."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from evatok.training.loop import LoopConfig
from evatok.training.tracking import installed, log_pictures


def test_a_tracker_is_one_of_accelerates_or_none() -> None:
    assert LoopConfig(tracker="wandb").tracker == "wandb"
    assert LoopConfig(tracker="none").tracker == "none"
    with pytest.raises(ValueError, match=r"tracker must be one of .*tensorboard, wandb.*, none, got paper"):
        LoopConfig(tracker="paper")


def test_a_tracker_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evatok.training.tracking.get_available_trackers", lambda: ["tensorboard"])
    assert installed("none") is None
    assert installed("tensorboard") == "tensorboard"
    with pytest.raises(ValueError, match=r"tracker wandb is not installed; .*tensorboard"):
        installed("wandb")


@pytest.mark.parametrize(
    ("name", "form"), [("tensorboard", (1, 4, 6, 3)), ("wandb", [(4, 6, 3)]), ("aim", (4, 6, 3)), ("mlflow", None)]
)
def test_each_tracker_gets_pictures_in_its_form(name: str, form: Any) -> None:
    logged: dict[str, Any] = {}
    tracker = SimpleNamespace(name=name, log_images=lambda values, step, **_: logged.update(values, step=step))
    log_pictures(tracker, {"clips": torch.zeros(3, 4, 6, dtype=torch.uint8)}, 5)
    if form is None:
        assert not logged
    else:
        found = logged["clips"]
        assert logged["step"] == 5
        assert ([each.shape for each in found] if isinstance(found, list) else found.shape) == form
