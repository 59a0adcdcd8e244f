"""What one visitor may ask of the web demo."""

from dataclasses import dataclass

from evatok.utils.configs import check_least


@dataclass(frozen=True)
class AppLimits:
    """Bounds of what one visitor may ask for, so that all get their turn.

    Args:
        megabytes: of an upload; larger ones are refused.
        seconds: of a video that are tokenized, from its beginning on.
        frames: of a video that are tokenized, for those of very high rates.
        waiting: requests that wait for their turn; whoever comes after them is told so.
        generated: videos that are generated at once.
        minutes: that a visitor's files are kept after the last change.
    """

    megabytes: int = 100
    seconds: float = 10.0
    frames: int = 600
    waiting: int = 8
    generated: int = 9
    minutes: int = 60

    def __post_init__(self) -> None:
        check_least(self, 1, "megabytes", "frames", "waiting", "generated", "minutes")
        if not self.seconds > 0:
            raise ValueError(f"seconds must be above 0, got {self.seconds}")
