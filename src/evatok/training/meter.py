"""What a run counts: losses and gradients, and the rate of clips for its log, and how far it is."""

import time
from statistics import fmean

from evatok.training.task import Progress
from evatok.utils.ranks import gathered


class Meter:
    """Means of a step's numbers over steps and processes, and the rate of clips, since last read; counts progress."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.restart()
        self._clear()

    def _clear(self) -> None:
        self.numbers: dict[str, list[float]] = {}
        self.clips, self.seconds = 0, 0.0

    def add(self, numbers: dict[str, float], clips: int) -> None:
        """Adds a step, and the time since the last `restart`; `numbers` is empty for one that was skipped."""
        seconds = time.perf_counter() - self.since
        self.restart()
        self.seconds, self.clips = self.seconds + seconds, self.clips + clips
        self.progress.seconds += seconds
        self.progress.steps += 1
        self.progress.clips += clips
        for name, value in numbers.items():
            self.numbers.setdefault(name, []).append(value)

    def restart(self) -> None:
        """Leaves out the time until now."""
        self.since = time.perf_counter()

    def read(self) -> dict[str, float]:
        """The means over all processes, of each number over the steps that had it; all processes must call it."""
        everywhere = gathered(self.numbers)
        names = dict.fromkeys(name for numbers in everywhere for name in numbers)
        means = {name: fmean(value for numbers in everywhere for value in numbers.get(name, [])) for name in names}
        means["clips/s"] = self.clips / self.seconds
        self._clear()
        return means
