"""The grammar where transformers' own `generate` samples: a processor of logits."""

import torch
from torch import Tensor
from transformers import LogitsProcessor

from evatok.generator.grammar import SequenceGrammar


class GrammarLogitsProcessor(LogitsProcessor):
    """Leaves each sequence only the tokens that its grammar has next: `generate(..., logits_processor=[this])`.

    It keeps no state: what is due follows from the tokens before. So it needs all of them, and is not for transformers'
    continuous batching, which hands over the newest tokens alone, and where `generate_batch` takes no processors from a
    caller: `VideoGenerator.generate` batches continuously itself.

    Args:
        grammar: of the sequences, which begin with a class token; they may be filled up at the left with the end token.
    """

    # Else continuous batching would drop it with a warning, and write what is no sequence.
    supports_continuous_batching = True

    def __init__(self, grammar: SequenceGrammar) -> None:
        self.grammar = grammar
        self._barred = ~grammar.allowed

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The logits `(n, vocabulary)` that follow sequences `(n, L)`, minus infinity where a token is not admitted."""
        if input_ids.ndim != 2:
            raise ValueError(
                "the grammar needs whole sequences, and continuous batching gives the newest tokens alone: "
                "use VideoGenerator.generate, which batches continuously itself"
            )
        self._barred = self._barred.to(scores.device)
        return scores.masked_fill(self._barred[self.grammar.due(input_ids)], -torch.inf)
