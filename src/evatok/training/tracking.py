"""Where numbers and pictures of a run go: the trackers that accelerate has."""

from collections.abc import Mapping
from typing import Any

from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType
from torch import Tensor

NONE = "none"


def check_name(tracker: str) -> None:
    """ValueError, with the names of all trackers, unless it is one of them or `none`."""
    names = [*map(str, LoggerType), NONE]
    if tracker not in names:
        raise ValueError(f"tracker must be one of {', '.join(names)}, got {tracker}")


def installed(tracker: str) -> str | None:
    """The tracker for accelerate, which would pass over one whose package is missing: here that is a ValueError."""
    if tracker == NONE:
        return None
    found = [*map(str, get_available_trackers())]
    if tracker not in [*found, str(LoggerType.ALL)]:
        raise ValueError(f"the package of the tracker {tracker} is not installed; those of these are: {found or NONE}")
    return tracker


def log_pictures(tracker: Any, pictures: Mapping[str, Tensor], step: int) -> None:
    """Gives pictures `(3, H, W)` uint8 to a tracker of accelerate, if it takes any: each has its own form for them."""
    for name, picture in pictures.items():
        image = picture.permute(1, 2, 0).numpy()
        match tracker.name:
            case "tensorboard":
                tracker.log_images({name: image[None]}, step=step, dataformats="NHWC")
            case "wandb" | "swanlab":
                tracker.log_images({name: [image]}, step=step)
            case "aim" | "clearml":
                tracker.log_images({name: image}, step=step)
