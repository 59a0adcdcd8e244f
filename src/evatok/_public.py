"""What `evatok` offers: its attributes, loaded when the first of them is asked for."""

from evatok.assignment import AssignmentError, AssignmentSpace
from evatok.generator.config import GENERATOR_PRESETS, GeneratorConfig, GeneratorSize
from evatok.generator.model import VideoGenerator
from evatok.nn.packed import Layout
from evatok.nn.transformer import TransformerConfig
from evatok.router.config import ROUTER_PRESETS, BlockwiseConfig, RouterConfig
from evatok.router.model import Router
from evatok.tokenizer.config import PRESETS, FSQConfig, QuantizerConfig, SketchConfig, TokenizerConfig
from evatok.tokenizer.model import TokenMismatch, VideoTokenizer
from evatok.tokens.tokens import TokenFileError, TokenFormat, TokenLimits, Tokens, VideoRecord
from evatok.utils.saving import CheckpointError
from evatok.video.fit import Fit, plan_fit
from evatok.video.reading import Video, VideoError, VideoInfo, VideoReader, probe, read_video, write_video

__all__ = [
    "GENERATOR_PRESETS",
    "PRESETS",
    "ROUTER_PRESETS",
    "AssignmentError",
    "AssignmentSpace",
    "BlockwiseConfig",
    "CheckpointError",
    "FSQConfig",
    "Fit",
    "GeneratorConfig",
    "GeneratorSize",
    "Layout",
    "QuantizerConfig",
    "Router",
    "RouterConfig",
    "SketchConfig",
    "TokenFileError",
    "TokenFormat",
    "TokenLimits",
    "TokenMismatch",
    "TokenizerConfig",
    "Tokens",
    "TransformerConfig",
    "Video",
    "VideoError",
    "VideoGenerator",
    "VideoInfo",
    "VideoReader",
    "VideoRecord",
    "VideoTokenizer",
    "plan_fit",
    "probe",
    "read_video",
    "write_video",
]
