"""Token sets out of data sources: what generators are trained on. All full clips of all videos, in parts."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from evatok.codec.token_parts import PartTokenizer, SetVideos, TokenizeConfig
from evatok.data.sources import ClipSource, open_source
from evatok.generator.vocabulary import Vocabulary
from evatok.tokenizer.clips import TENSOR_FPS
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.token_set import HEADER, TokenSet, TokenSetHeader
from evatok.training.versions import versions
from evatok.utils.parts import Part, differing, parts_in, run_parts, undone

log = logging.getLogger(__name__)

_NAMED = 20  # bad videos that the log names; all of them are in the set's `how`


def tokenize(config: TokenizeConfig, folder: Path) -> TokenSet:
    """Writes the token set of all data, from the start or from where an earlier run of the same config ended.

    Returns:
        The set, which `TokenSet.open` reads from the folder again. Videos that cannot be read are left out, logged,
        and named with the reasons in `how`.

    Raises:
        ValueError: the folder holds another set, a source cannot be opened, or the tokenizer cannot do what is asked.
        CheckpointError: there is no such tokenizer.
    """
    tokenizer = VideoTokenizer.from_pretrained(config.tokenizer)
    sources = [open_source(source) for source in config.data]
    videos = SetVideos(sources, tokenizer.config.clip_frames, config.frame_stride)
    Vocabulary.of(tokenizer.token_format, videos.classes)
    places = videos.parts(config.part)
    header = _header(config, tokenizer, videos, _fps(config, sources), len(places))
    _try_out(tokenizer, config.request, header)
    _claim(folder, header)
    parts = parts_in(folder, places)
    missing = undone(parts)
    with _progress(videos, missing, 1 + config.mirrored) as progress:
        run_parts(partial(PartTokenizer, config, header), missing, config.runner, config.actors, progress)
    made = TokenSet.open(folder)
    if skipped := made.how["skipped"]:
        if not len(made):
            video, reason = next(iter(skipped.items()))
            raise ValueError(f"none of the {len(videos)} videos can be read: {video} ({reason})")
        lines = "".join(f"\n  {video}: {reason}" for video, reason in list(skipped.items())[:_NAMED])
        more = "\n  ..." if len(skipped) > _NAMED else ""
        log.warning("skipped %d of %d videos:%s%s", len(skipped), len(videos), lines, more)
    return made


def _header(
    config: TokenizeConfig, tokenizer: VideoTokenizer, videos: SetVideos, fps: float, parts: int
) -> TokenSetHeader:
    copies = 1 + config.mirrored
    made = {"tokenizer": tokenizer.name, "checksum": tokenizer.checksum}
    # Lists, as JSON has them.
    request = asdict(config.request) | {"prefix": config.prefix}
    asked = {"request": request, "router": tokenizer.router.checksum if tokenizer.router else None}
    chosen = {"data": [asdict(source) for source in config.data], "frame_stride": config.frame_stride}
    counts = {"videos": len(videos), "clips": int(videos.clips.sum()) * copies, "incomplete": videos.incomplete}
    how = {**made, **asked, **chosen, "mirrored": config.mirrored, "part": config.part, **counts}
    picture = config.size or (tokenizer.config.side,) * 2
    return TokenSetHeader(tokenizer.token_format, videos.classes, picture, fps, parts, {**how, "versions": versions()})


def _fps(config: TokenizeConfig, sources: Sequence[ClipSource]) -> float:
    """Frames per second of the clips."""
    if config.fps is not None:
        return float(config.fps)
    known = {source.fps for source in sources}
    rate = known.pop() if len(known) == 1 else None
    if rate is None:
        log.info(
            "the sources have no frame rate in common: taking %g; give fps for another one of the clips", TENSOR_FPS
        )
    return (rate or TENSOR_FPS) / config.frame_stride


def _try_out(tokenizer: VideoTokenizer, request: LengthRequest, header: TokenSetHeader) -> None:
    """Encodes one grey clip: what is asked for in vain is said before the work."""
    grey = torch.zeros(1, tokenizer.config.clip_frames, 3, *header.picture)
    tokenizer.encode_clips(tokenizer.tensor_clips(grey, "none", header.fps), request)


def _claim(folder: Path, header: TokenSetHeader) -> None:
    """Notes what a folder is to hold; ValueError if it holds another set."""
    if (folder / HEADER).exists():
        found = TokenSetHeader.read(folder)
        if found.digest == header.digest:
            return
        flat = [{**asdict(each), **each.how, "how": None} for each in (found, header)]
        what = ", ".join(key for key in differing(*flat) if key != "format") or "format"
        raise ValueError(f"{folder} holds another token set, which differs in: {what}; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    header.write(folder)


@contextmanager
def _progress(videos: SetVideos, missing: Sequence[Part], copies: int) -> Iterator[Callable[[int], None]]:
    """Says how large the set will be, and how far it is; gives what is told of further clips.

    Args:
        videos: of the set.
        missing: parts that are to be written.
        copies: of each clip.
    """
    clips = [int(videos.clips[part.places.start : part.places.stop].sum()) * copies for part in missing]
    total, left = int(videos.clips.sum()) * copies, sum(clips)
    log.info(
        "%d clips of %d videos, %d of them in %d parts to be written; %d last clips are not full and left out",
        total,
        len(videos),
        left,
        len(missing),
        videos.incomplete,
    )
    foretold, since = False, time.monotonic()

    def more(done: int) -> None:
        nonlocal foretold
        bar.update(done)
        if not foretold and len(missing) > 1 and (first := Path(missing[0].path)).exists():
            foretold = True
            size = first.stat().st_size / max(clips[0], 1) * total
            hours = (time.monotonic() - since) / (bar.n - bar.initial) * (total - bar.n) / 3600
            with tqdm.external_write_mode():
                log.info("the set will take about %.3g MB, and %.2g hours more", size / 1e6, hours)

    with tqdm(total=total, initial=total - left, unit="clip") as bar:
        yield more
