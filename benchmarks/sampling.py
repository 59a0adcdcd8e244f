"""Sampling by a generator: ours against transformers' own, and lengths that adapt against one length for all.

All write as many videos with the same model: of lengths that differ from video to video and come to some mean, of one
length of that mean, and of the longest. Lengths are forced, so that nothing depends on what a model has learned. What
is written in batches that wait for their longest is transformers' `generate` with the grammar's processor. The limit is
what reading weights, keys and values takes at the machine's own rate of copying memory. A saved model's tokenizer
decodes what was written, too. With `--compile` our steps are also measured compiled, once they are.

    python -m benchmarks.sampling --out docs/results/sampling.json
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from benchmarks.common import PRECISIONS, Row, in_turn, report, timing_arguments
from evatok.assignment import AssignmentSpace
from evatok.generator.config import GENERATOR_PRESETS, GeneratorConfig
from evatok.generator.grammar import Due, SequenceGrammar
from evatok.generator.logits import GrammarLogitsProcessor
from evatok.generator.model import VideoGenerator
from evatok.tokenizer.config import PRESETS
from evatok.tokens.tokens import TokenFormat


class ForcedLengths(LogitsProcessor):
    """Leaves sequences the length tokens of these lengths `(n, blocks)` alone."""

    def __init__(self, grammar: SequenceGrammar, lengths: Tensor) -> None:
        self._grammar = grammar
        self._tokens = torch.tensor([[grammar.vocabulary.length(level) for level in row] for row in lengths.tolist()])

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """As transformers calls it."""
        vocabulary, rows = self._grammar.vocabulary, torch.arange(len(scores), device=scores.device)
        begun = ((input_ids >= vocabulary.first_length) & (input_ids < vocabulary.first_class)).sum(1)
        token = self._tokens.to(scores.device)[rows, begun.clamp(max=self._grammar.blocks - 1)]
        other = torch.arange(scores.shape[1], device=scores.device) != token[:, None]
        return scores.masked_fill(other & (self._grammar.due(input_ids) == Due.LENGTH)[:, None], -torch.inf)


def varied(space: AssignmentSpace, videos: int, mean: int, source: torch.Generator) -> Tensor:
    """Random lengths `(videos, blocks)` that come to `mean` tokens each: drawn anew where that brings them nearer."""
    lengths = space.sample(source, videos)
    while surplus := int(lengths.sum()) - videos * mean:
        others = space.sample(source, videos)
        nearer = (surplus + others.sum(1) - lengths.sum(1)).abs() < abs(surplus)
        if nearer.any():
            lengths[nearer.int().argmax()] = others[nearer.int().argmax()]
    return lengths


def random_generator(size: str, tokenizer: str) -> VideoGenerator:
    """A generator of a size with random weights, of tokens of a tokenizer's preset."""
    config = PRESETS[tokenizer]
    torch.manual_seed(0)
    form = TokenFormat(
        config.levels, config.quantizer.codebook_size, config.block_frames, config.blocks, tokenizer, "random"
    )
    return VideoGenerator(GeneratorConfig(GENERATOR_PRESETS[size], form, (config.side,) * 2, 16.0))


@torch.no_grad()
def transformers_sample(generator: VideoGenerator, lengths: Tensor, rows: int) -> None:
    """Writes sequences by transformers' own `generate`, as many at once as there are rows."""
    grammar = generator.grammar
    for part in lengths.split(rows):
        processors = LogitsProcessorList([GrammarLogitsProcessor(grammar), ForcedLengths(grammar, part)])
        begun = torch.full((len(part), 1), grammar.vocabulary.null, device=generator.device)
        written = generator.model.generate(
            begun,
            attention_mask=torch.ones_like(begun),
            logits_processor=processors,
            do_sample=True,
            top_k=0,
            max_new_tokens=grammar.longest,
        )
        assert [grammar.parse(row).lengths for row in written.cpu()] == [tuple(row) for row in part.tolist()]


def copied_bytes(device: torch.device, size: int = 2**28) -> float:
    """Bytes a second that are read and written where a large tensor is copied."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / in_turn({"copy": lambda: target.copy_(source)}, 5)["copy"]


def least_seconds(generator: VideoGenerator, lengths: Tensor, rows: int, rate: float) -> float:
    """What reading weights in each step, and keys and values for each token, takes at so many bytes a second."""
    size, layers = generator.config.size, [*generator.model.model.layers.parameters(), generator.model.lm_head.weight]
    tokens = lengths.sum(1) + lengths.shape[1]
    weights = sum(each.numel() for each in layers)
    known = int((tokens * (tokens + 1) // 2).sum()) * 2 * size.depth * size.width
    return (int(tokens.sum()) / rows * weights + known) * generator.dtype.itemsize / rate


def measure(generator: VideoGenerator, videos: int, mean: int, rows: int, repeats: int, compiled: bool) -> list[Row]:
    """Tokens and videos a second of each way, which take turns."""
    blocks, levels = generator.grammar.blocks, generator.grammar.vocabulary.levels
    space, source = AssignmentSpace(levels, blocks), torch.Generator().manual_seed(0)
    if mean not in [level * blocks for level in levels]:
        raise ValueError(f"mean must be that of one length, so a level times the {blocks} blocks, got {mean}")
    kinds = {
        "adaptive": varied(space, videos, mean, source),
        "uniform, equal mean": torch.full((videos, blocks), mean // blocks),
        "uniform, longest": torch.full((videos, blocks), levels[-1]),
    }
    ways: dict[tuple[str, str], Callable[[], object]] = {}
    for kind, lengths in kinds.items():
        labels = [None] * videos
        ways["evatok", kind] = partial(generator.sample, labels, assignment=lengths, rows=rows, progress=False)
        if compiled:
            write = partial(generator.sample, labels, assignment=lengths, rows=rows, compile=True, progress=False)
            ways["evatok, compiled", kind] = write
        ways["transformers", kind] = partial(transformers_sample, generator, lengths, rows)
        if generator.tokenizer is not None:
            tokens = generator.sample(labels, assignment=lengths, rows=rows, progress=False)
            ways["decoding", kind] = partial(generator.tokenizer.decode, tokens)
    seconds, rate = in_turn(ways, repeats), copied_bytes(generator.device)
    table: list[Row] = []
    for (way, kind), each in seconds.items():
        count = int(kinds[kind].sum())
        table.append(
            {
                "by": way,
                "lengths": kind,
                "tokens a video": count / videos,
                "tokens/s": count / each,
                "videos/s": videos / each,
                "share of the limit": (
                    "-" if way == "decoding" else least_seconds(generator, kinds[kind], rows, rate) / each
                ),
            }
        )
    return table


def main() -> None:
    """Measures a saved generator, or one of a size with random weights."""
    parser = timing_arguments(__doc__)
    parser.add_argument("--model", help="a saved generator; without it, one with random weights of the size")
    parser.add_argument("--size", choices=list(GENERATOR_PRESETS), default="gpt-tiny")
    parser.add_argument("--tokenizer", choices=list(PRESETS), default="tiny", help="whose tokens they are")
    parser.add_argument("--videos", type=int, default=64)
    parser.add_argument("--rows", type=int, default=16, help="videos that are written side by side")
    parser.add_argument("--mean", type=int, default=128, help="tokens of a video")
    parser.add_argument("--compile", action="store_true", help="ours with compiled steps, too")
    parser.add_argument("--precision", choices=list(PRECISIONS), default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.model:
        generator = VideoGenerator.from_pretrained(given.model)
    else:
        generator = random_generator(given.size, given.tokenizer)
    generator.to(given.device, PRECISIONS[given.precision])
    rows = measure(generator, given.videos, given.mean, given.rows, given.repeats, given.compile)
    named = {name: getattr(given, name) for name in ("videos", "precision", "device")}
    report(rows, given.out, model=given.model or given.size, side_by_side=given.rows, **named)


if __name__ == "__main__":
    main()
