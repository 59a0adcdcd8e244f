"""What a tokenizer with a router saves over its twins: those trained alike, but under lengths that do not adapt.

    python -m benchmarks.stage4 --config configs/tiny/final.yaml --config configs/tiny/decoder.yaml --clips clips \
        --folder runs/twins --variants "uniform lengths" "best fixed lengths"
    python -m benchmarks.twins --uniform runs/twins/uniform-lengths/final --fixed runs/twins/best-fixed-lengths/final \
        --out docs/results/decoder-twins.json

All encode the same held-out clips, each under the lengths that it is for at several preferences, and the tokenizer
also under those of its twins. A row compares two of them: tokens saved at equal quality (BD-tokens, in %, with 95 %
intervals over clips), judged by LPIPS, by LPIPS of clips that are moved by two pixels, and by PSNR. The record has mean
tokens and qualities at each setting. No search is needed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.common import Row, arguments, read_config, table, write_record
from benchmarks.long_clips import fixed
from benchmarks.stage4 import moved
from evatok.data.clips import held_out_clips
from evatok.data.sources import open_source
from evatok.evaluation.comparison import Draws, compare_curves
from evatok.evaluation.metrics import clip_scores
from evatok.evaluation.rate import Floats
from evatok.evaluation.strategies import Curve, Strategy
from evatok.pretrained.lpips import LPIPS
from evatok.stages.final import FinalConfig
from evatok.tokenizer.model import VideoTokenizer

WIDTHS = (1, 2)
# What a clip costs and how bad it looks; of all the less the better.
NUMBERS = ("tokens", "LPIPS", "LPIPS moved", "minus PSNR")
OWN = "own"
_TOGETHER = 8
# What `encode` is asked for at each setting of a kind of lengths.
Settings = Mapping[float, Mapping[str, Any]]
# Who encodes and decodes, and how clips get their lengths.
Kind = tuple[str, str]


def kinds(tokenizer: VideoTokenizer, clip: Tensor, preferences: Sequence[float]) -> dict[Kind, Settings]:
    """The tokenizer under all kinds of lengths, each twin under its own; `clip` is any."""
    router = tokenizer.router
    if router is None or router.mean_values is None:
        raise ValueError("the tokenizer needs a router that predicts blocks one by one")
    beams = {f"beam {width}": {w_q: {"w_q": w_q, "beam": width} for w_q in preferences} for width in WIDTHS}
    plain: dict[str, Settings] = {
        "uniform": {level: {"uniform": level} for level in tokenizer.config.levels},
        "fixed": {w_q: {"assignment": fixed(router, clip, w_q)} for w_q in preferences},
    }
    own: dict[str, Settings] = {"router": {w_q: {"w_q": w_q} for w_q in preferences}, **beams, **plain}
    return {**{(OWN, by): own[by] for by in own}, **{(f"{by} twin", by): plain[by] for by in plain}}


@torch.no_grad()
def numbers(tokenizer: VideoTokenizer, lpips: LPIPS, video: Tensor, settings: Settings) -> Floats:
    """`NUMBERS` of clips `(B, F, 3, H, W)` uint8 at each setting, `(settings, B, 4)`."""
    found = []
    for asked in settings.values():
        tokens = tokenizer.encode(video, fit="none", **asked)
        shown = tokenizer.decode(tokens)
        scores, off = clip_scores(video, shown, lpips), clip_scores(moved(video), moved(shown), lpips)
        found.append(torch.stack([tokens.lengths.sum(1), scores.lpips, off.lpips, -scores.psnr], 1))
    return torch.stack(found).double().numpy()


def compared(found: Mapping[Kind, Floats], asked: Mapping[Kind, Settings], draws: int) -> list[Row]:
    """Tokens that the tokenizer's kinds of lengths save over both twins, and over itself under the twins' lengths."""
    clips = next(iter(found.values())).shape[1]
    drawn, rows = Draws(clips, draws, 0), list[Row]()

    def curve(kind: Kind, judge: int) -> Curve:
        values, settings = found[kind], tuple(asked[kind])
        strategy = Strategy("", " by ".join(kind), settings, torch.empty(len(settings), clips))
        return Curve(strategy, values[..., 0], values[..., judge], -values[..., 3])

    for by in ("router", *(f"beam {width}" for width in WIDTHS)):
        for over in (kind for kind in asked if kind[1] in ("uniform", "fixed")):
            row: dict[str, Any] = {"lengths by": by, "over": " by ".join(over)}
            for judge, name in enumerate(("LPIPS", "LPIPS moved", "PSNR"), 1):
                saved = compare_curves(curve((OWN, by), judge), curve(over, judge), drawn).bd_tokens
                row |= {f"saved at equal {name}, %": saved.value, f"{name}, from": saved.low, f"{name}, to": saved.high}
            rows.append(row)
    return rows


def points(found: Mapping[Kind, Floats], asked: Mapping[Kind, Settings]) -> list[Row]:
    """Means over the clips at each setting."""
    return [
        {"by": " by ".join(kind), "setting": setting, **dict(zip(NUMBERS, means, strict=True))}
        for kind, values in found.items()
        for setting, means in zip(asked[kind], values.mean(1).tolist(), strict=True)
    ]


def main() -> None:
    """Encodes and decodes, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--config", default="configs/tiny/final.yaml", help="whose held-out clips are taken")
    parser.add_argument("--tokenizer", default="evatok-tiny", help="with a router")
    parser.add_argument("--uniform", required=True, help="the twin under uniform lengths")
    parser.add_argument("--fixed", required=True, help="the twin under the best fixed lengths")
    parser.add_argument("--clips", type=int, default=24, help="of each source")
    parser.add_argument("--w-q", type=float, nargs="+", default=[0.4, 0.8, 1.2, 1.6, 2.0], help="preferences")
    parser.add_argument("--draws", type=int, default=1000, help="of clips, for the intervals")
    given = parser.parse_args()
    data = read_config(FinalConfig, [f"--config={given.config}"]).data
    sources = [open_source(each) for each in data.validation]
    batches = held_out_clips(sources, given.clips, data.validation_size, data.clips.frames)
    video = torch.cat([batch.video for batch in batches.values()])
    names = {OWN: given.tokenizer, "uniform twin": given.uniform, "fixed twin": given.fixed}
    tokenizers = {name: VideoTokenizer.from_pretrained(where) for name, where in names.items()}
    lpips, asked = LPIPS.from_pretrained("alex"), kinds(tokenizers[OWN], video[0], given.w_q)
    found = {
        kind: np.concatenate([
            numbers(tokenizers[kind[0]], lpips, part, settings)
            for part in tqdm(video.split(_TOGETHER), desc=" by ".join(kind), unit="batch")
        ], 1)
        for kind, settings in asked.items()
    }  # fmt: skip
    rows, means = compared(found, asked, given.draws), points(found, asked)
    print(table(rows), table(means), sep="\n\n")
    about = {
        name: {"tokenizer": tokenizer.name, "checksum": tokenizer.checksum} for name, tokenizer in tokenizers.items()
    }
    clips = {name: len(batch) for name, batch in batches.items()}
    write_record({"tokenizers": about, "clips": clips, "comparisons": rows, "points": means}, given.out)


if __name__ == "__main__":
    main()
