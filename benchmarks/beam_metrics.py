"""What a beam saves by what it measures: LPIPS by AlexNet, by VGG16, or squared errors, each judged by all three.

    python -m benchmarks.beam_metrics --out docs/results/beam-metrics.json

A row is what a beam measures: tokens saved over uniform lengths on the same held-out clips at equal LPIPS by either
network and at equal PSNR (BD-tokens, in %, with 95 % intervals over clips), and processor milliseconds of encoding a
clip. The record has mean tokens and qualities at each setting.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.common import JUDGED_AT, Row, arguments, table, write_record
from benchmarks.long_clips import SOURCES
from evatok.data.clips import held_out_clips
from evatok.data.sources import open_source
from evatok.evaluation.comparison import Draws, compare_curves
from evatok.evaluation.metrics import clip_psnr
from evatok.evaluation.rate import Floats
from evatok.evaluation.strategies import Curve, Strategy
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.beam import Metric
from evatok.tokenizer.model import VideoTokenizer
from evatok.video.fit import to_signed

METRICS: tuple[Metric, ...] = get_args(Metric)
# What a clip costs under each kind of lengths at each setting; of the last three the less the better.
NUMBERS = ("ms", "tokens", "alex", "vgg", "minus psnr")
# What `encode` is asked for, by kind of lengths and setting.
Ways = Mapping[str, Mapping[float, Mapping[str, Any]]]


def ways(levels: Sequence[int], preferences: Sequence[float], width: int) -> Ways:
    """Uniform lengths, and beams by each metric."""
    beams: Ways = {
        metric: {w_q: {"w_q": w_q, "beam": width, "beam_metric": metric} for w_q in preferences} for metric in METRICS
    }
    return {"uniform": {level: {"uniform": level} for level in levels}, **beams}


@torch.no_grad()
def numbers(tokenizer: VideoTokenizer, networks: Sequence[LPIPS], clip: Tensor, asked: Ways) -> dict[str, Floats]:
    """`NUMBERS` of a clip `(1, F, 3, H, W)` uint8 at each setting, `(settings, 5)`, by kind of lengths."""
    originals = [lpips.features(to_signed(clip[0])) for lpips in networks]
    found: dict[str, Floats] = {}
    for kind, settings in asked.items():
        rows = []
        for options in settings.values():
            start = time.process_time()
            tokens = tokenizer.encode(clip, fit="none", **options)
            milliseconds = 1000 * (time.process_time() - start)
            shown = tokenizer.decode(tokens)
            distances = [
                lpips.distance(features, lpips.features(to_signed(shown[0]))).mean().item()
                for lpips, features in zip(networks, originals, strict=True)
            ]
            rows.append([milliseconds, tokens.num_tokens, *distances, -clip_psnr(clip, shown).item()])
        found[kind] = np.array(rows)
    return found


def compared(found: Sequence[Mapping[str, Floats]], asked: Ways, draws: int) -> list[Row]:
    """A row for each kind of lengths, out of the numbers of clips."""
    by_kind = {kind: np.stack([clip[kind] for clip in found], 1) for kind in asked}  # (settings, clips, 5)
    drawn, rows = Draws(len(found), draws, 0), list[Row]()

    def curve(kind: str, judge: int) -> Curve:
        values, settings = by_kind[kind], tuple(asked[kind])
        strategy = Strategy("", kind, settings, torch.empty(len(settings), len(found)))
        return Curve(strategy, values[..., 1], values[..., judge], -values[..., 4])

    for kind, values in by_kind.items():
        row: dict[str, Any] = {"a beam measures": kind, "ms a clip": values[..., 0].mean()}
        for judge in (2, 3, 4):
            name = NUMBERS[judge].removeprefix("minus ")
            saved = compare_curves(curve(kind, judge), curve("uniform", judge), drawn).bd_tokens
            row |= {f"saved at equal {name}, %": saved.value, f"{name}, from": saved.low, f"{name}, to": saved.high}
        points = zip(asked[kind], values.mean(1).tolist(), strict=True)
        row["points"] = [{"setting": setting, **dict(zip(NUMBERS, means, strict=True))} for setting, means in points]
        rows.append(row)
    return rows


def main() -> None:
    """Reads videos, encodes, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--tokenizer", default="evatok-tiny", help="with a router")
    parser.add_argument("--beam", type=int, default=2, help="its width")
    parser.add_argument("--clips", type=int, default=4, help="of each source")
    parser.add_argument("--w-q", type=float, nargs="+", default=list(JUDGED_AT), help="preferences")
    parser.add_argument("--draws", type=int, default=1000, help="of clips, for the intervals")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = VideoTokenizer.from_pretrained(given.tokenizer)
    networks = [LPIPS.from_pretrained("alex"), LPIPS.from_pretrained("vgg")]
    side, frames = tokenizer.config.side, tokenizer.config.clip_frames
    batches = held_out_clips([*map(open_source, SOURCES)], given.clips, (side, side), frames)
    clips = torch.cat([batch.video for batch in batches.values()])
    asked = ways(tokenizer.config.levels, given.w_q, given.beam)
    found = [numbers(tokenizer, networks, clip, asked) for clip in tqdm(clips.split(1), unit="clip")]
    rows = compared(found, asked, given.draws)
    print(table([{name: value for name, value in row.items() if name != "points"} for row in rows]))
    about = {"tokenizer": given.tokenizer, "checksum": tokenizer.checksum, "beam": given.beam}
    write_record({**about, "clips": {name: len(batch) for name, batch in batches.items()}, "rows": rows}, given.out)


if __name__ == "__main__":
    main()
