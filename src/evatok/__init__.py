"""evatok: adaptive-length video tokenizer. What is imported here is the public interface; all else may change."""

from evatok.assignment import AssignmentError, AssignmentSpace
from evatok.data.fit import Fit, plan_fit
from evatok.data.tokens import TokenFileError, TokenFormat, Tokens, VideoRecord
from evatok.data.video import Video, VideoError, VideoInfo, VideoReader, probe, read_video, write_video
from evatok.nn.transformer import TransformerConfig
from evatok.tokenizer.config import PRESETS, FSQConfig, QuantizerConfig, TokenizerConfig
from evatok.tokenizer.model import TokenMismatch, VideoTokenizer
from evatok.tokenizer.saving import CheckpointError

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "AssignmentError",
    "AssignmentSpace",
    "CheckpointError",
    "FSQConfig",
    "Fit",
    "QuantizerConfig",
    "TokenFileError",
    "TokenFormat",
    "TokenMismatch",
    "TokenizerConfig",
    "Tokens",
    "TransformerConfig",
    "Video",
    "VideoError",
    "VideoInfo",
    "VideoReader",
    "VideoRecord",
    "VideoTokenizer",
    "__version__",
    "plan_fit",
    "probe",
    "read_video",
    "write_video",
]
