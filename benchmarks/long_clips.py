"""Clips of more blocks than the tokenizer was trained on: what one long clip saves over clips of four, and costs.

Held-out videos are encoded as clips of four blocks, as `encode` cuts them, and the same frames as longer clips: uniform
lengths, and those that beams find. The cost to go of a long clip is the mean of what the router says of its pieces of
four blocks; the beam sees it through a window. The router alone and the best fixed lengths are for clips of four.

    python -m benchmarks.long_clips --out docs/results/long-clips.json

A row is a clip length and a kind of lengths over all its settings: tokens saved at equal LPIPS over uniform lengths of
the same videos in clips of four (BD-tokens, in %, with intervals over videos), and processor milliseconds a block, for
finding lengths and for coding (encoding and decoding). The record has tokens, LPIPS and PSNR at each setting, and LPIPS
by the block's place in its clip.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import JUDGED_AT, Row, arguments, table, write_record
from evatok.allocation.beam import Beam, Expected
from evatok.allocation.predictors import table_of
from evatok.assignment import Assignment
from evatok.data.clips import held_out_clips
from evatok.data.folders import FolderConfig
from evatok.data.sources import SourceConfig, open_source
from evatok.data.toy.games import GamesConfig
from evatok.evaluation.comparison import Draws, compare_curves
from evatok.evaluation.metrics import clip_psnr
from evatok.evaluation.rate import Floats
from evatok.evaluation.strategies import Curve, Strategy
from evatok.nn.packed import Layout
from evatok.pretrained.lpips import LPIPS
from evatok.router.model import Router
from evatok.tokenizer.measuring import OfNetwork
from evatok.tokenizer.model import VideoTokenizer
from evatok.video.fit import to_bytes, to_signed

SOURCES: tuple[SourceConfig, ...] = (
    FolderConfig("data/bbb/validation", name="film"),
    FolderConfig("data/footage/validation", name="footage"),
    GamesConfig("all", (100, 101)),
)
WIDTHS = (1, 2)
# The lengths of one clip `(F, 3, H, W)` uint8 at a setting: a level, or a preference.
Chooses = Callable[[Tensor, float], Assignment]


class Way(NamedTuple):
    """A kind of lengths over its settings."""

    name: str
    settings: tuple[float, ...]
    chooses: Chooses


class Measured(NamedTuple):
    """Videos in clips of one length under one kind of lengths.

    Args:
        curve: tokens of a block, LPIPS and PSNR of each video at each setting.
        by_place: LPIPS by setting and the block's place in its clip, `(settings, blocks of a clip)`.
        finding: processor seconds of finding the lengths of a block.
        coding: of encoding and decoding it.
    """

    curve: Curve
    by_place: Floats
    finding: float
    coding: float


def uniform(blocks: int, clip: Tensor, level: float) -> Assignment:
    """One length for every block."""
    return (int(level),) * blocks


def fixed(router: Router, clip: Tensor, w_q: float) -> Assignment:
    """The best lengths for the mean of the clips that the router has learned from."""
    assert router.mean_values is not None
    table = table_of(router.mean_values[None], router.config.space)
    return tuple(router.pick_from(table, router.price(w_q))[0].tolist())


def by_router(router: Router, clip: Tensor, w_q: float) -> Assignment:
    """What the router picks of a clip."""
    return tuple(router(clip[None], w_q)[0].tolist())


def by_beam(
    tokenizer: VideoTokenizer, router: Router, lpips: LPIPS, width: int, clip: Tensor, w_q: float
) -> Assignment:
    """What a beam finds; the clip may have any number of blocks that four divide."""
    config, values = tokenizer.config, router.values(clip.unflatten(0, (-1, tokenizer.config.clip_frames)))
    assert values is not None
    beam = Beam(config.levels, width, config.blocks * router.price(w_q), Expected(config.space, values.mean(0)))
    measurer = OfNetwork(tokenizer, to_signed(clip[None]), lpips)
    return beam.run(measurer, len(clip) // config.block_frames)[0].lengths


def ways(tokenizer: VideoTokenizer, lpips: LPIPS, blocks: int, preferences: Sequence[float]) -> list[Way]:
    """Those that clips of so many blocks can have, uniform lengths first; ValueError for an unfit tokenizer."""
    router, settings = tokenizer.router, tuple(preferences)
    if router is None or router.mean_values is None:
        raise ValueError("the tokenizer needs a router that predicts blocks one by one")
    found = [Way("uniform", tokenizer.config.levels, partial(uniform, blocks))]
    if blocks == tokenizer.config.blocks:
        found += [Way("fixed", settings, partial(fixed, router)), Way("router", settings, partial(by_router, router))]
    beams = ((f"beam {width}", partial(by_beam, tokenizer, router, lpips, width)) for width in WIDTHS)
    return [*found, *(Way(name, settings, chooses) for name, chooses in beams)]


@torch.no_grad()
def measured(tokenizer: VideoTokenizer, lpips: LPIPS, videos: Tensor, blocks: int, way: Way) -> Measured:
    """Videos `(V, F, 3, H, W)` uint8 in clips of so many blocks, which divide them."""
    frames, points, places = tokenizer.config.block_frames, [], []
    total = videos.shape[0] * videos.shape[1] // frames * len(way.settings)
    finding = coding = 0.0
    for setting in way.settings:
        for video in videos:
            tokens, decoded = 0, []
            clips = video.split(blocks * frames)
            for clip in clips:
                start = time.process_time()
                lengths = way.chooses(clip, setting)
                found = time.process_time()
                decoded.append(_coded(tokenizer, clip, lengths))
                finding, coding = finding + found - start, coding + time.process_time() - found
                tokens += sum(lengths)
            shown = torch.cat(decoded)
            of_frames = lpips(to_signed(video), to_signed(shown)).double()
            number = len(video) // frames
            points.append((tokens / number, of_frames.mean().item(), clip_psnr(video, shown).item()))
            places.append(of_frames.view(len(clips), blocks, frames).mean((0, 2)).numpy())
    shape = (len(way.settings), len(videos))
    values = (np.array(each).reshape(shape) for each in zip(*points, strict=True))
    curve = Curve(Strategy("", way.name, way.settings, torch.empty(shape)), *values)
    return Measured(curve, np.stack(places).reshape(*shape, blocks).mean(1), finding / total, coding / total)


def _coded(tokenizer: VideoTokenizer, clip: Tensor, lengths: Assignment) -> Tensor:
    """A clip encoded under these lengths and decoded, uint8."""
    layout = Layout.of([lengths])
    ids, _ = tokenizer.encode_blocks(to_signed(clip[None]), layout)
    decoded, _ = tokenizer.decode_blocks(ids, layout, (clip.shape[-2], clip.shape[-1]))
    return to_bytes(decoded[0])


def compared(
    tokenizer: VideoTokenizer,
    lpips: LPIPS,
    videos: Tensor,
    cuts: Sequence[int],
    preferences: Sequence[float],
    draws: int,
) -> list[Row]:
    """A row for each length of clips, of which the first is the reference's, and kind of lengths."""
    drawn, reference, rows = Draws(len(videos), draws, 0), None, list[Row]()
    for blocks in cuts:
        for way in ways(tokenizer, lpips, blocks, preferences):
            found = measured(tokenizer, lpips, videos, blocks, way)
            reference = reference or found.curve
            saved = compare_curves(found.curve, reference, drawn).bd_tokens
            rows.append(
                {
                    "videos": f"{len(videos)} of {videos.shape[1] // tokenizer.config.block_frames} blocks",
                    "blocks a clip": blocks,
                    "lengths by": way.name,
                    "saved %": saved.value,
                    "from": saved.low,
                    "to": saved.high,
                    "finding, ms a block": 1000 * found.finding,
                    "coding, ms a block": 1000 * found.coding,
                    "points": _points(found),
                }
            )
    return rows


def _points(found: Measured) -> list[Mapping[str, Any]]:
    """Means over the videos at each setting."""
    curve = found.curve
    columns = (curve.strategy.settings, *(each.mean(1).tolist() for each in (curve.tokens, curve.lpips, curve.psnr)))
    names = ("setting", "tokens a block", "lpips", "psnr", "lpips by place")
    return [dict(zip(names, each, strict=True)) for each in zip(*columns, found.by_place.tolist(), strict=True)]


def long_videos(sources: Sequence[SourceConfig], count: int, side: int, frames: int) -> dict[str, Tensor]:
    """Of every source that has such long videos, so many of these, `(count, frames, 3, side, side)` uint8."""
    opened = [source for source in map(open_source, sources) if source.lengths().max() >= frames]
    batches = held_out_clips(opened, count, (side, side), frames)
    return {name: batch.video for name, batch in batches.items()}


def main() -> None:
    """Reads videos, encodes, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--tokenizer", default="evatok-tiny", help="with a router that predicts blocks one by one")
    parser.add_argument("--cuts", type=int, nargs="+", default=[4, 8, 16], help="blocks of a clip")
    parser.add_argument("--videos", type=int, default=2, help="of each source, of as many blocks as the longest cut")
    parser.add_argument("--long-cuts", type=int, nargs="+", default=[4, 64], help="the same of other, longer videos")
    parser.add_argument("--long-videos", type=int, default=1, help="of each source that has so long ones")
    parser.add_argument("--w-q", type=float, nargs="+", default=list(JUDGED_AT), help="preferences")
    parser.add_argument("--draws", type=int, default=1000, help="of videos, for the intervals")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer, lpips = VideoTokenizer.from_pretrained(given.tokenizer), LPIPS.from_pretrained("alex")
    about = {"tokenizer": given.tokenizer, "checksum": tokenizer.checksum}
    rows, sources = list[Row](), list[Row]()
    for cuts, count in ((given.cuts, given.videos), (given.long_cuts, given.long_videos)):
        blocks = max(cuts)
        videos = long_videos(SOURCES, count, tokenizer.config.side, blocks * tokenizer.config.block_frames)
        sources.append({"blocks": blocks, "videos": {name: len(each) for name, each in videos.items()}})
        rows += compared(tokenizer, lpips, torch.cat([*videos.values()]), cuts, given.w_q, given.draws)
        print(table([{name: value for name, value in row.items() if name != "points"} for row in rows]))
        write_record({**about, "sources": sources, "rows": rows}, given.out)


if __name__ == "__main__":
    main()
