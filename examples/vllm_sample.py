"""Sample videos by vLLM: its engine runs the generator's Llama, and a logits processor keeps the grammar.

    pip install -e '.[generator]' vllm
    python examples/vllm_sample.py --generator runs/games-generator/final --classes pong boxing

`GrammarProcessor` is written for the interface that vLLM has documented since 0.11 (`vllm.v1.sample.logits_processor`):
its runner of version 1, which 0.32 still has. There is no guidance: vLLM has none.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vllm import LLM, SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from evatok import Tokens, VideoGenerator, VideoRecord, plan_fit, write_video
from evatok.generator.grammar import Due, SequenceGrammar


@dataclass
class Beginning:
    """The beginning of a request's sequence, and what is known of it.

    Args:
        prompt: its first tokens.
        output: what has been sampled; the engine appends to this very list.
        read: how many of these tokens are counted below.
        blocks: begun so far.
        missing: codes of the last block.
    """

    prompt: Sequence[int]
    output: Sequence[int]
    read: int = 0
    blocks: int = 0
    missing: int = 0

    def due(self, grammar: SequenceGrammar) -> Due:
        """What the next token has to be."""
        vocabulary, first = grammar.vocabulary, len(self.prompt)
        while self.read < first + len(self.output):
            token = self.prompt[self.read] if self.read < first else self.output[self.read - first]
            level = token - vocabulary.first_length
            if 0 <= level < len(vocabulary.levels):
                self.blocks, self.missing = self.blocks + 1, vocabulary.levels[level]
            elif token < vocabulary.first_length:
                self.missing -= 1
            self.read += 1
        if self.missing:
            return Due.CODE
        return Due.LENGTH if self.blocks < grammar.blocks else Due.END


class GrammarProcessor(LogitsProcessor):
    """Leaves each request only the tokens that the grammar of the model's folder has next."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self.grammar = VideoGenerator.from_pretrained(vllm_config.model_config.model).grammar
        self._barred = ~self.grammar.allowed.to(device)
        self._rows: dict[int, Beginning] = {}

    def is_argmax_invariant(self) -> bool:
        """No: the likeliest token may be barred."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Requests that left the batch, came into it, and went from row to row."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._rows.pop(row, None)
        for row, _, prompt, output in batch_update.added:
            self._rows[row] = Beginning(prompt or (), output)
        for one, other, how in batch_update.moved:
            moved, there = self._rows.pop(one), self._rows.pop(other, None)
            self._rows[other] = moved
            if how is MoveDirectionality.SWAP and there is not None:
                self._rows[one] = there

    def apply(self, logits: Tensor) -> Tensor:
        """Logits `(requests, vocabulary)`, minus infinity where a token is not admitted."""
        due = torch.tensor([self._rows[row].due(self.grammar) for row in range(len(logits))], device=logits.device)
        return logits.masked_fill_(self._barred[due], -torch.inf)


def engine_of(folder: str, **options: Any) -> LLM:
    """vLLM with a generator's Llama and the grammar; it needs the folder alone."""
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"  # whose processors are others
    return LLM(model=folder, skip_tokenizer_init=True, logits_processors=[GrammarProcessor], **options)


def sequences(engine: LLM, grammar: SequenceGrammar, classes: Sequence[str], **options: Any) -> list[Tensor]:
    """A whole sequence of each class; options are those of `SamplingParams`."""
    starts, end = [grammar.vocabulary.label(name) for name in classes], grammar.vocabulary.end
    wanted = SamplingParams(max_tokens=grammar.longest - 1, stop_token_ids=[end], detokenize=False, **options)
    answers = engine.generate([{"prompt_token_ids": [start]} for start in starts], wanted)
    sampled = [[token for token in answer.outputs[0].token_ids if token != end] for answer in answers]
    return [torch.tensor([start, *rest, end]) for start, rest in zip(starts, sampled, strict=True)]


def main() -> None:
    """Samples a video of each class, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", required=True, help="folder that `save_pretrained` wrote")
    parser.add_argument("--classes", nargs="+", required=True, help="one video of each")
    parser.add_argument("--output", type=Path, default=Path("runs/example-vllm"), help="for the videos")
    given = parser.parse_args()
    generator = VideoGenerator.from_pretrained(given.generator)
    grammar, config = generator.grammar, generator.config
    written = [grammar.parse(each) for each in sequences(engine_of(given.generator), grammar, given.classes, seed=0)]
    fit = plan_fit(config.picture, area=1, patch=(1, 1), mode="none")
    record = VideoRecord(config.frames, config.fps, config.picture, fit.to_dict())
    lengths = torch.tensor([parsed.lengths for parsed in written]).view(-1, config.tokens.clip_blocks)
    ids = torch.cat([parsed.ids for parsed in written])
    assert generator.tokenizer is not None
    videos = generator.tokenizer.decode(Tokens(config.tokens, (record,) * len(written), ids, lengths))
    given.output.mkdir(parents=True, exist_ok=True)
    for name, video in zip(given.classes, videos, strict=True):
        write_video(given.output / f"{name}.mp4", video, fps=config.fps)
    print(f"the videos are in {given.output}")


if __name__ == "__main__":
    main()
