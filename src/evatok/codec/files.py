"""Video files to token files and back."""

from fractions import Fraction
from pathlib import Path

from evatok.codec.targets import FileError, check_target
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.limits import DEFAULT_LIMITS, TokenLimits
from evatok.tokens.tokens import Tokens
from evatok.utils.saving import CheckpointError
from evatok.video.fit import Fit, Mode, crop
from evatok.video.reading import write_video


def encode_file(
    source: Path,
    target: Path,
    tokenizer: str,
    request: LengthRequest,
    *,
    fit: Mode = "keep",
    fps: float | None = None,
    track: int | None = None,
) -> Tokens:
    """Writes the tokens of a video of any length to a file, and returns them; memory does not grow with the length.

    Args:
        source: a video, or a picture.
        target: the token file, which appears whole or not at all.
        tokenizer: a shipped name, a folder, or a hub's repository.
        request: how many tokens.
        fit: how pictures are brought to the tokenizer's area.
        fps: frame rate to resample to; None keeps every frame.
        track: number of the video track, from 0 on; None: the longest that is no still picture.

    Raises:
        ValueError: whatever is wrong with the files, the tokenizer or what is asked for.
        OSError: the target cannot be written.
    """
    check_target(target, source, tokenizer)
    model = VideoTokenizer.from_pretrained(tokenizer)
    tokens = model.encode_clips(model.file_clips(source, fit, fps, track), request)
    tokens.save(target)
    return tokens


def decode_file(
    source: Path, target: Path, tokenizer: str | None = None, limits: TokenLimits = DEFAULT_LIMITS
) -> Tokens:
    """Writes the video of a token file that holds one; returns the tokens. Memory does not grow with the length.

    Args:
        source: the token file.
        target: the video (.mp4, .m4v, .mov, .mkv, .webm), which appears whole or not at all.
        tokenizer: what made the tokens; None: the name that is written in them.
        limits: what the tokens may ask for.

    Raises:
        ValueError: whatever is wrong with the files or the tokenizer, or if another tokenizer made the tokens.
        OSError: the target cannot be written.
    """
    check_target(target, source, tokenizer)
    tokens = Tokens.load(source, limits)
    if len(tokens) != 1:
        raise FileError(f"{source} holds {len(tokens)} videos; a file of one video can be decoded here")
    try:
        model = VideoTokenizer.from_pretrained(tokenizer or tokens.format.model)
    except CheckpointError as error:
        if tokenizer:
            raise
        made = f"{source} was made by the tokenizer {tokens.format.model!r}, which is not found by that name"
        raise CheckpointError(f"{made}; say where it is with --tokenizer ({error})") from error
    record = tokens.videos[0]
    fit = Fit.from_dict(record.fit)
    frames = (crop(frame, fit.inner) for frame in model.decode_stream(tokens, limits, undo_fit=False))
    aspect = Fraction(*fit.pixel_aspect)
    write_video(target, frames, fps=record.fps, times=record.times, size=fit.output_size, pixel_aspect=aspect)
    return tokens


def bits_per_pixel(tokens: Tokens) -> float:
    """Bits of the tokens for each pixel of the source videos."""
    return tokens.bits() / sum(video.frames * video.size[0] * video.size[1] for video in tokens.videos)
