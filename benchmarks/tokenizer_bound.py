"""What a tokenizer makes of real clips, by the measures of generators: what a generator of its tokens may hope for.

    python -m benchmarks.tokenizer_bound --real '[{games: all, seeds: [0, 2]}]' \
        --held-out '[{games: all, seeds: [102, 104]}]' --clips 208 --w-q 1.05 --folder runs/tokenizer-bound \
        --out docs/results/tokenizer-bound.json

Held-out clips are compared with real ones as they are, and as the tokenizer encodes and decodes them at its router's
lengths, or as another decodes its tokens: FVD with its 95 % interval, KVD, and how often a classifier of the real clips
finds the class, as `evatok evaluate generation` has them. The folder keeps what was measured of real clips.
"""

from pathlib import Path

import torch
import yaml
from torch import Tensor
from tqdm import tqdm

from benchmarks.common import Row, arguments, report
from evatok.data.sources import source_config
from evatok.evaluation.agreement import class_agreement
from evatok.evaluation.fvd import fvd_scores
from evatok.pretrained.i3d import I3D
from evatok.reports.real_clips import Measured, RealClips, RealClipsConfig, logits_of, measure_real
from evatok.tokenizer.model import VideoTokenizer

_TOGETHER = 16


def decoded_logits(
    tokenizer: VideoTokenizer,
    decoder: VideoTokenizer,
    clips: RealClips,
    i3d: I3D,
    size: tuple[int, int],
    w_q: float,
) -> tuple[Tensor, float]:
    """I3D's logits `(N, 400)` of clips that one encodes and one decodes, and their tokens on average."""
    logits, tokens = [], 0
    for start in tqdm(range(0, len(clips), _TOGETHER), "decoded clips", unit="batch"):
        video = clips.batch(range(start, min(start + _TOGETHER, len(clips)))).video
        coded = tokenizer.encode(video, w_q=w_q, fit="none")
        tokens += coded.num_tokens
        logits.append(logits_of(i3d, decoder.decode(coded), size))
    return torch.cat(logits), tokens / len(clips)


def scores(name: str, tokens: float | None, logits: Tensor, real: Measured, held_out: Measured) -> Row:
    """A row: the held-out clips in some form, by their logits, against the real ones."""
    found = fvd_scores(real.logits, logits)
    own, asked = (real.logits, real.labels), (held_out.logits, held_out.labels)
    agreement = class_agreement(own, asked, (logits, held_out.labels), real.clips.classes)
    return {
        "held-out clips": name,
        "tokens": "-" if tokens is None else tokens,
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
    parser.add_argument("--decoder", help="a tokenizer that decodes in its place (docs/final.md, the decoder alone)")
    parser.add_argument("--real", type=yaml.safe_load, required=True, help="sources of the real clips, with classes")
    parser.add_argument("--held-out", type=yaml.safe_load, required=True, help="of other clips of the same classes")
    parser.add_argument("--clips", type=int, default=208, help="of each source of both")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 64), help="height and width of the clips")
    parser.add_argument("--w-q", type=float, default=1.2, help="the router's preference")
    parser.add_argument("--folder", type=Path, required=True, help="for what is measured of real clips")
    given = parser.parse_args()
    i3d, tokenizer, size = I3D.from_pretrained(), VideoTokenizer.from_pretrained(given.tokenizer), tuple(given.size)
    decoder = VideoTokenizer.from_pretrained(given.decoder) if given.decoder else tokenizer
    measured = []
    for name, entries in (("real", given.real), ("held out", given.held_out)):
        config = RealClipsConfig([source_config(each) for each in entries], name, given.clips)
        clips = RealClips(config, size, tokenizer.config.clip_frames, 1)
        measured.append(measure_real(clips, i3d, size, given.folder / name))
    real, held_out = measured
    logits, tokens = decoded_logits(tokenizer, decoder, held_out.clips, i3d, size, given.w_q)
    rows = [
        scores("as they are", None, held_out.logits, real, held_out),
        scores("encoded and decoded", tokens, logits, real, held_out),
    ]
    names = {"tokenizer": tokenizer, "decoder": decoder}
    made = {name: (each.name, each.checksum) for name, each in names.items()}
    report(rows, given.out, **made, w_q=given.w_q, clips=len(held_out.keys))


if __name__ == "__main__":
    main()
