"""What a run logged, out of TensorBoard's event files; those of a killed run end in the middle, and are read so far."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evatok.figures.steps import Steps


@dataclass(frozen=True)
class RunLog:
    """Numbers and pictures that a run logged.

    Args:
        numbers: by name, such as `loss/tokenizer/l1`.
        pictures: the last ones of validation by name: their step, and a PNG file.
        missing: why there is none of it, or empty.
    """

    numbers: Mapping[str, Steps] = field(default_factory=dict)
    pictures: Mapping[str, tuple[int, bytes]] = field(default_factory=dict)
    missing: str = ""

    def under(self, prefix: str) -> dict[str, Steps]:
        """The numbers whose names begin so, by what follows."""
        return {name.removeprefix(prefix): line for name, line in self.numbers.items() if name.startswith(prefix)}

    @property
    def others(self) -> dict[str, Steps]:
        """What training logged beside losses, norms of gradients and the rate of clips."""
        known = ("loss/", "gradient/", "clips/s", "validation/")
        return {name: line for name, line in self.numbers.items() if not name.startswith(known)}


def read_log(folder: Path, tracker: str) -> RunLog:
    """The log in a run's folder, which its tracker wrote."""
    places = sorted({path.parent for path in (folder / "log").rglob("events.out.tfevents.*")})
    if not places:
        return RunLog(missing=_why_not(tracker))
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ModuleNotFoundError:
        return RunLog(missing="The log is in TensorBoard's files, which the extra `train` reads: evatok[train].")
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    numbers, pictures = dict[str, Steps](), dict[str, tuple[int, bytes]]()
    for place in places:
        # All numbers; of pictures the last.
        events = EventAccumulator(str(place), size_guidance={"scalars": 0, "images": 1})
        events.Reload()
        for name in events.Tags()["scalars"]:
            # A run that was killed and resumed went through some steps twice: the later time counts. Files that
            # began in one second are read in any order.
            written = sorted(events.Scalars(name), key=lambda event: event.wall_time)
            values = {event.step: event.value for event in written}
            numbers[name] = Steps("", sorted(values), [values[step] for step in sorted(values)])
        for name in events.Tags()["images"]:
            last = events.Images(name)[-1]
            pictures[name] = last.step, last.encoded_image_string
    return RunLog(numbers, pictures, "" if numbers else "The log holds no numbers yet.")


def _why_not(tracker: str) -> str:
    if tracker == "tensorboard":
        return "There is no log in this folder."
    if tracker == "none":
        return "The run kept no log (loop.tracker none): only what checkpoints remember is shown."
    return f"The log went to {tracker}, and is not in this folder: only what checkpoints remember is shown."
