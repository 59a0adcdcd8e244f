"""What a tokenizer makes of real clips, by the measures of generators: what a generator of its tokens may hope for.

    python -m benchmarks.tokenizer_bound --decoders evatok-tiny evatok-tiny-ale/tokenizer \
        --real '[{games: all, seeds: [0, 2]}]' --held-out '[{games: all, seeds: [102, 104]}]' --clips 208 --w-q 1.05 \
        --folder runs/tokenizer-bound --out docs/results/tokenizer-bound.json

Held-out clips are compared with real ones as they are, and as the tokenizer encodes them at its router's lengths and
each of the decoders makes them of its tokens: FVD with its 95 % interval, KVD, and how often a classifier of the real
clips finds the class, as `evatok evaluate generation` has them; PSNR and LPIPS. The folder keeps what was measured of
real clips.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from benchmarks.common import Row, arguments, report
from evatok.data.sources import source_config
from evatok.evaluation.agreement import class_agreement
from evatok.evaluation.fvd import fvd_scores
from evatok.evaluation.metrics import clip_scores
from evatok.figures.frames import reconstruction_sheet
from evatok.pretrained.i3d import I3D
from evatok.pretrained.lpips import LPIPS
from evatok.reports.real_clips import Measured, RealClips, RealClipsConfig, logits_of, measure_real
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.tokens import Tokens
from evatok.utils.files import replacing

_TOGETHER = 16
_SHOWN = 12  # clips in the picture


class Made(NamedTuple):
    """What a decoder made of clips: I3D's logits `(N, 400)`, mean PSNR and LPIPS, middle frames `(N, 3, H, W)`."""

    logits: Tensor
    psnr: float
    lpips: float
    middles: Tensor


def encoded(tokenizer: VideoTokenizer, clips: RealClips, w_q: float) -> list[tuple[Tensor, Tokens]]:
    """Clips, uint8 `(n, F, 3, H, W)`, some at a time, and their tokens."""
    parts = range(0, len(clips), _TOGETHER)
    videos = [clips.batch(range(start, min(start + _TOGETHER, len(clips)))).video for start in parts]
    return [(video, tokenizer.encode(video, w_q=w_q, fit="none")) for video in videos]


def made_by(decoder: VideoTokenizer, coded: Sequence[tuple[Tensor, Tokens]], i3d: I3D, lpips: LPIPS) -> Made:
    """What a decoder makes of the tokens of clips; I3D sees them in their own size."""
    logits, scores, middles = [], [], []
    for video, tokens in tqdm(coded, f"decoded by {decoder.name}", unit="batch"):
        found = decoder.decode(tokens)
        logits.append(logits_of(i3d, found, (found.shape[-2], found.shape[-1])))
        scores.append(clip_scores(video, found, lpips))
        middles.append(found[:, found.shape[1] // 2])
    psnr, distance = (torch.cat([getattr(each, name) for each in scores]).mean().item() for name in ("psnr", "lpips"))
    return Made(torch.cat(logits), psnr, distance, torch.cat(middles))


def scores(name: str, logits: Tensor, real: Measured, held_out: Measured) -> Row:
    """A row: the held-out clips in some form, by their logits, against the real ones."""
    found = fvd_scores(real.logits, logits)
    own, asked = (real.logits, real.labels), (held_out.logits, held_out.labels)
    agreement = class_agreement(own, asked, (logits, held_out.labels), real.clips.classes)
    return {
        "held-out clips": name,
        "FVD": found.fvd,
        "from": found.fvd_interval.low,
        "to": found.fvd_interval.high,
        "KVD": found.kvd,
        "KVD's spread": found.kvd_std,
        "class found": agreement.generated,
    }


def main() -> None:
    """Measures, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--tokenizer", default="evatok-tiny")
    what = "tokenizers that decode its tokens: itself, and such as differ from it by the decoder alone (docs/final.md)"
    parser.add_argument("--decoders", nargs="+", default=["evatok-tiny"], help=what)
    parser.add_argument("--real", type=yaml.safe_load, required=True, help="sources of the real clips, with classes")
    parser.add_argument("--held-out", type=yaml.safe_load, required=True, help="of other clips of the same classes")
    parser.add_argument("--clips", type=int, default=208, help="of each source of both")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 64), help="height and width of the clips")
    parser.add_argument("--w-q", type=float, default=1.2, help="the router's preference")
    parser.add_argument("--folder", type=Path, required=True, help="for what is measured of real clips")
    parser.add_argument("--sheet", type=Path, help="PNG file for middle frames, originals above what decoders made")
    given = parser.parse_args()
    i3d, tokenizer, size = I3D.from_pretrained(), VideoTokenizer.from_pretrained(given.tokenizer), tuple(given.size)
    decoders = [VideoTokenizer.from_pretrained(each) for each in given.decoders]
    measured = []
    for name, entries in (("real", given.real), ("held out", given.held_out)):
        config = RealClipsConfig([source_config(each) for each in entries], name, given.clips)
        clips = RealClips(config, size, tokenizer.config.clip_frames, 1)
        measured.append(measure_real(clips, i3d, size, given.folder / name))
    real, held_out = measured
    coded = encoded(tokenizer, held_out.clips, given.w_q)
    lpips = LPIPS.from_pretrained("alex")
    made = {each.name: made_by(each, coded, i3d, lpips) for each in decoders}
    rows: list[Row] = [{**scores("as they are", held_out.logits, real, held_out), "PSNR": "-", "LPIPS": "-"}]
    for name, each in made.items():
        row = scores(f"decoded by {name}", each.logits, real, held_out)
        rows.append({**row, "PSNR": each.psnr, "LPIPS": each.lpips})
    if given.sheet:
        shown = torch.linspace(0, len(held_out.keys) - 1, _SHOWN).long()
        middles = torch.cat([video[:, video.shape[1] // 2] for video, _ in coded])
        sheet = reconstruction_sheet(middles[shown], {name: each.middles[shown] for name, each in made.items()})
        with replacing(given.sheet) as temporary:
            Image.fromarray(sheet.movedim(0, -1).numpy()).save(temporary, format="png")
    report(
        rows,
        given.out,
        tokenizer=(tokenizer.name, tokenizer.checksum),
        decoders=[(each.name, each.checksum) for each in decoders],
        tokens=sum(tokens.num_tokens for _, tokens in coded) / len(held_out.keys),
        w_q=given.w_q,
        clips=len(held_out.keys),
    )


if __name__ == "__main__":
    main()
