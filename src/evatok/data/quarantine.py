"""Videos of a source that cannot be used: which, why, and how many are too many."""

import logging
from dataclasses import dataclass
from itertools import islice

from torch.utils.data import get_worker_info

logger = logging.getLogger(__name__)

# Bad videos that an error names, and that the log does; all of them are in `skipped` and `failed`.
SHOWN, LOGGED = 5, 20


class TooManyBadVideos(ValueError):
    """More videos of a source than the limit allows cannot be used."""


@dataclass(frozen=True)
class SkippedVideo:
    """A video that is not used, and why."""

    path: str
    reason: str


class Quarantine:
    """The bad videos of a source: those skipped when it was opened, and those that failed when they were read.

    Args:
        name: of the source.
        place: the folder or URL of its videos.
        listed: number of its videos, bad ones included.
        skipped: those that are not used from the start.
        max_bad: share of the videos that may be bad.

    Raises:
        TooManyBadVideos: more are bad, now or after a later failure.
        ValueError: none is left.
    """

    def __init__(self, name: str, place: str, listed: int, skipped: tuple[SkippedVideo, ...], max_bad: float) -> None:
        self._name, self._place, self._listed, self._max_bad = name, place, listed, max_bad
        self.skipped = skipped
        self.failed: dict[str, str] = {}
        if skipped:
            lines = "".join(f"\n  {video.path}: {video.reason}" for video in skipped[:LOGGED])
            lines += "\n  ..." if len(skipped) > LOGGED else ""
            logger.warning("%s: skipped %d of %d videos:%s", name, len(skipped), listed, lines)
        self._check_share()
        if len(skipped) == listed:
            raise ValueError(f"none of the {listed} videos of {place} is usable: {self._first_bad()}")

    def add(self, path: str, reason: str) -> None:
        """Note a video that cannot be read after all.

        A process that makes batches for another one leaves it to that to say so, and to see whether these are too many.
        """
        if path not in self.failed:
            self.failed[path] = reason
            if get_worker_info() is None:
                logger.warning("%s: cannot read %s: %s", self._name, path, reason)
                self._check_share()

    def sum_up(self) -> None:
        """Say once more which videos could not be read after all."""
        if self.failed:
            bad = "; ".join(islice(self.failed, LOGGED)) + ("; ..." if len(self.failed) > LOGGED else "")
            logger.warning("%s: %d of %d videos could not be read: %s", self._name, len(self.failed), self._listed, bad)

    def _check_share(self) -> None:
        bad = len(self.skipped) + len(self.failed)
        if bad > self._max_bad * self._listed:
            raise TooManyBadVideos(
                f"{bad} of the {self._listed} videos of {self._place} are bad: {bad / self._listed:.1%}, "
                f"where max_bad allows {self._max_bad:.1%}: {self._first_bad()}"
            )

    def _first_bad(self) -> str:
        bad = [f"{video.path} ({video.reason})" for video in self.skipped[: SHOWN + 1]]
        bad += [f"{path} ({reason})" for path, reason in self.failed.items()]
        return "; ".join(bad[:SHOWN]) + ("; ..." if len(bad) > SHOWN else "")


def check_tolerance(max_bad: float, min_frames: int) -> None:
    """Raise ValueError unless these may be a source's limits: a share of bad videos, and frames of a good one."""
    if not 0 <= max_bad <= 1:
        raise ValueError(f"max_bad is a share of the videos, between 0 and 1, not {max_bad}")
    if min_frames < 1:
        raise ValueError(f"min_frames must be at least 1, not {min_frames}")


def too_short(frames: int, min_frames: int) -> str:
    """Why a video of fewer than `min_frames` frames is skipped."""
    return f"too short: {frames} frames, {min_frames} are needed"
