"""The search with shared prefixes against one assignment after another, in one run: clips a second.

    python -m benchmarks.search_speed --out docs/results/search-speed.json

The row in bfloat16 is there where the machine computes in it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import in_turn, report, timing_arguments
from evatok.nn.packed import Layout
from evatok.pretrained.lpips import LPIPS
from evatok.search.walk import search_clips
from evatok.tokenizer.config import PRESETS, TokenizerConfig
from evatok.tokenizer.measuring import Original
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.precision import native_precision
from evatok.video.fit import to_signed


def main() -> None:
    """Parses, measures, prints, writes."""
    parser = timing_arguments(__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--clips", type=int, default=16, help="clips of a batch")
    parser.add_argument("--levels", type=int, default=5, help="levels, of the preset's, from the shortest on")
    parser.add_argument(
        "--sample", type=int, default=125, help="assignments that are timed one by one, drawn at random"
    )
    parser.add_argument("--lpips-net", choices=["alex", "vgg"], default="alex")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    preset = PRESETS[given.preset]
    levels = preset.levels[: given.levels]
    config = TokenizerConfig(**{**vars(preset), "levels": levels, "default_assignment": (levels[0],) * preset.blocks})
    sampled = torch.randperm(len(config.space))[: given.sample].tolist()
    rows = measure(config, given.clips, given.lpips_net, given.repeats, sampled)
    about = {"preset": given.preset, "levels": levels, "clips": given.clips, "lpips_net": given.lpips_net}
    report(rows, given.out, **about, assignments=len(config.space), timed_one_by_one=len(sampled))


@torch.no_grad()
def measure(
    config: TokenizerConfig, count: int, network: Any, repeats: int, sampled: list[int]
) -> list[dict[str, Any]]:
    """A row a way of searching; the weights, on which time does not depend, are random.

    Of assignments one by one only the sampled ones are timed; all of them take as much longer as they are more.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, lpips = VideoTokenizer(config).eval().to(device), LPIPS.from_pretrained(network).to(device)
    video = torch.randint(0, 256, (count, config.clip_frames, 3, config.side, config.side), dtype=torch.uint8)
    clips = video.to(device)
    ways: dict[str, Callable[[], Any]] = {
        "one by one": lambda: one_by_one(model, clips, lpips, sampled),
        "shared prefixes": lambda: search_clips(model, clips, lpips),
    }
    if native_precision() == "bf16":
        half = "shared prefixes, bfloat16 after encoding"
        ways[half] = lambda: search_clips(model, clips, lpips, half=True)
    seconds = in_turn(ways, repeats)
    slowest = seconds["one by one"] = seconds["one by one"] * len(config.space) / len(sampled)
    return [
        {"search": name, "seconds a clip": each / count, "clips/s": count / each, "times as fast": slowest / each}
        for name, each in seconds.items()
    ]


def one_by_one(model: VideoTokenizer, clips: Tensor, lpips: LPIPS, assignments: list[int]) -> Tensor:
    """LPIPS `(clips, assignments)` of some assignments; only the features of the originals are shared."""
    signed, size = to_signed(clips), (clips.shape[-2], clips.shape[-1])
    original = Original.of(signed, lpips)
    found = []
    for lengths in model.config.space.lengths[assignments].tolist():
        layout = Layout.of([lengths] * len(clips))
        ids, _ = model.encode_blocks(signed, layout)
        decoded, _ = model.decode_blocks(ids, layout, size)
        found.append(original.errors(decoded, lpips)[1])
    return torch.stack(found, 1)


if __name__ == "__main__":
    main()
