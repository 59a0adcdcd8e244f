"""What the search of a clip costs by preset: operations of its parts, with shared prefixes and one by one.

Counted from shapes, for clips at the trained size; LPIPS by the network that the preset's configs name.

    python -m benchmarks.search_cost --out docs/results/search-cost.json
"""

from collections.abc import Callable
from itertools import product

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import Row, arguments, report
from benchmarks.operations import Assignments, decoding_operations, encoding_operations
from evatok.pretrained.lpips import LPIPS, Network
from evatok.tokenizer.config import PRESETS, TokenizerConfig

NETWORKS: dict[str, Network] = {"tiny": "alex", "mini": "alex", "small": "vgg", "base": "vgg"}
Operations = Callable[[TokenizerConfig, tuple[int, int], Assignments], int]


def cost(name: str, config: TokenizerConfig, network: Network) -> Row:
    """Operations of a clip's search, in units of 10^12."""
    parts = {"encoding": of_blocks(config, encoding_operations), "decoding": of_blocks(config, decoding_operations)}
    frame = lpips_operations(network, config.side)
    # Each block under each prefix, and the original once.
    parts["LPIPS"] = frame * config.block_frames * (config.space.prefix_starts[-1] + config.blocks)
    whole = sum(parts.values())
    one_by_one = one_assignment_after_another(config) + frame * config.clip_frames * (len(config.space) + 1)
    return {
        "preset": name,
        "LPIPS by": network,
        "10^12 operations a clip": whole / 1e12,
        **{part: f"{value / whole:.0%}" for part, value in parts.items()},
        "one by one": one_by_one / 1e12,
        "times as many": one_by_one / whole,
    }


def of_blocks(config: TokenizerConfig, operations: Operations) -> int:
    """Operations of every block under every prefix: what a longer prefix takes more than the shorter one."""
    size, total = (config.side, config.side), 0
    for blocks in range(1, config.blocks + 1):
        prefixes = list(product(config.levels, repeat=blocks))
        shorter = [prefix[:-1] for prefix in prefixes if blocks > 1]
        total += operations(config, size, prefixes) - operations(config, size, shorter)
    return total


def one_assignment_after_another(config: TokenizerConfig) -> int:
    """Operations of encoding and decoding at every assignment."""
    size, all_of_them = (config.side, config.side), config.space.lengths.tolist()
    return encoding_operations(config, size, all_of_them) + decoding_operations(config, size, all_of_them)


def lpips_operations(network: Network, side: int) -> int:
    """Operations of the features of a frame."""
    with FlopCounterMode(display=False) as counter:
        LPIPS(network).features(torch.zeros(1, 3, side, side))
    return counter.get_total_flops()


def main() -> None:
    """Counts, prints, writes."""
    given = arguments(__doc__).parse_args()
    report([cost(name, PRESETS[name], NETWORKS[name]) for name in PRESETS], given.out)


if __name__ == "__main__":
    main()
