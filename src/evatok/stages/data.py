"""The data of a training stage: which sources, how clips are cut, what is held out."""

from dataclasses import dataclass, field

from evatok.data.clips import ClipBatch, ClipSamplerConfig, TrainingClips, held_out_clips
from evatok.data.overlap import refuse_overlap
from evatok.data.sources import SourceConfig, open_source
from evatok.utils.configs import check_between
from evatok.utils.ranks import meet

# That are in memory together: far more than fit, so that a number that was mistyped is told before they are read.
_MOST_CLIPS = 2**16


@dataclass(frozen=True)
class DataConfig:
    """Clips for training and validation.

    Args:
        train: sources of training clips; each has a `weight`.
        validation: sources of held-out clips, which must share no video with `train`: that is checked.
        clips: how training clips are cut.
        group: clips of a batch, which share their size.
        validation_clips: clips of each validation source, spread evenly over its videos.
        validation_size: height and width of validation clips.
    """

    train: list[SourceConfig] = field(default_factory=list)
    validation: list[SourceConfig] = field(default_factory=list)
    clips: ClipSamplerConfig = field(default_factory=ClipSamplerConfig)
    group: int = 16
    validation_clips: int = 48
    validation_size: tuple[int, int] = (64, 64)

    def __post_init__(self) -> None:
        check_between(self, 1, _MOST_CLIPS, "group", "validation_clips")
        if not self.train:
            raise ValueError("train names no source; give at least one, such as [{folder: my/videos}]")

    def open(self, seed: int) -> tuple[TrainingClips, dict[str, ClipBatch]]:
        """The endless training clips of a seed, and the fixed held-out clips by the names of their sources.

        Processes that train together must all call this: one of them looks at folders for all.

        Raises what the sources raise; OverlapError if a video is in training and in validation.
        """
        meet()
        training = [open_source(config) for config in self.train]
        validation = [open_source(config) for config in self.validation]
        refuse_overlap(training, validation)
        clips = TrainingClips(training, [config.weight for config in self.train], self.clips, self.group, seed)
        return clips, held_out_clips(validation, self.validation_clips, self.validation_size, self.clips.frames)
