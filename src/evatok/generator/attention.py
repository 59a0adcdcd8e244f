"""Causal attention over sequences that lie one after the other, and a Llama that reads them: for training.

transformers' layers call it by the name `NAME`. A saved model knows nothing of it: alone, a sequence needs no more than
what transformers has. Backends stand side by side as in `evatok.nn.attention`.
"""

import warnings
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from evatok.nn.attention import torch_varlen
from evatok.nn.packed import Layout, on_device, runs_of

NAME = "evatok_packed"


def attend_causally(q: Tensor, k: Tensor, v: Tensor, sequences: Layout) -> Tensor:
    """Attention of each element to those up to itself in its sequence.

    Args:
        q: queries `(N, heads, dim)`, N being `sequences.size`.
        k: keys, like `q`.
        v: values, like `q`.
        sequences: their lengths, each as a clip of one block.

    Returns:
        `(N, heads, dim)`.
    """
    if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16):
        return _attend_varlen(q, k, v, sequences)
    return _attend_runs(q, k, v, sequences)


def _attend_varlen(q: Tensor, k: Tensor, v: Tensor, sequences: Layout) -> Tensor:
    """One call for all sequences, whatever their lengths."""
    return _varlen_kernel(q, k, v, _starts(sequences, q.device), max(map(sum, sequences.lengths)))


@lru_cache(maxsize=16)  # the layers of a pass share them
def _starts(sequences: Layout, device: torch.device) -> Tensor:
    return on_device(torch.tensor(sequences.starts, dtype=torch.int32), device)


def _varlen_kernel(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int) -> Tensor:
    attended: Tensor = torch_varlen()(q, k, v, starts, starts, longest, longest, window_size=(-1, 0))
    return attended


def _attend_runs(q: Tensor, k: Tensor, v: Tensor, sequences: Layout) -> Tensor:
    """One call for neighbours of equal lengths: no mask that depends on the mix, and no padding."""
    # As in `evatok.nn.attention`: the fused CPU kernel's backward pass is slow in bfloat16.
    products = q.requires_grad and q.device.type == "cpu" and q.dtype is torch.bfloat16
    attend = _by_products if products else partial(F.scaled_dot_product_attention, is_causal=True)
    runs = runs_of(sequences)
    sizes = [run.places[0].stop - run.places[0].start for run in runs]
    parts = []
    for run, *pieces in zip(runs, *(each.split(sizes) for each in (q, k, v)), strict=True):
        attended = attend(*(piece.unflatten(0, (run.clips, -1)).transpose(1, 2) for piece in pieces))
        parts.append(attended.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)


def _by_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Plain causal attention over `(sequences, heads, length, dim)`."""
    length = q.shape[2]
    ahead = torch.full((length, length), -torch.inf, dtype=q.dtype).triu(1).expand(q.shape[0] * q.shape[1], -1, -1)
    scores = torch.baddbmm(ahead, (q * q.shape[-1] ** -0.5).flatten(0, 1), k.flatten(0, 1).transpose(1, 2))
    return (scores.softmax(-1) @ v.flatten(0, 1)).view_as(q)


@torch.compiler.disable
def _of_a_layer(
    layer: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, sequences: Layout, **others: Any
) -> tuple[Tensor, None]:
    """`attend_causally` as a layer of transformers calls it, in the precision of the values."""
    q, k, v = (each[0].transpose(0, 1).to(v.dtype) for each in (q, k, v))
    return attend_causally(q, k, v, sequences)[None], None


ALL_ATTENTION_FUNCTIONS.register(NAME, _of_a_layer)


class PackedLlama(nn.Module):
    """A Llama that reads sequences of unequal lengths one after the other.

    Args:
        llama: the model, whose attention is made that of packed sequences.
    """

    def __init__(self, llama: LlamaForCausalLM) -> None:
        super().__init__()
        self.llama = llama
        llama.set_attn_implementation(NAME)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.llama.device
        return device

    def compile_layers(self, backend: str = "inductor") -> None:
        """Compiles what layers do between their attentions, in place, for any number of tokens."""
        for layer in self.llama.model.layers:
            for part in (layer.input_layernorm, layer.post_attention_layernorm, layer.mlp):
                part.compile(dynamic=True, backend=backend)

    def recompute_layers(self) -> None:
        """Lets layers be computed again for their gradients, instead of kept."""
        with warnings.catch_warnings():
            # Of the name, which newer versions change.
            warnings.simplefilter("ignore", FutureWarning)
            self.llama.gradient_checkpointing_enable()

    def forward(self, tokens: Tensor, positions: Tensor, sequences: Layout, dropout: Tensor | None = None) -> Tensor:
        """What follows each token: logits `(N, vocabulary)`.

        Args:
            tokens: of all sequences, int64 `(N,)`.
            positions: of each in its sequence, int64 `(N,)`.
            sequences: their lengths, each as a clip of one block.
            dropout: factors of the embedded tokens' numbers, `(N, width)`; None: none.
        """
        embedded = self.llama.model.embed_tokens(tokens[None])
        if dropout is not None:
            embedded = embedded * dropout
        output = self.llama(inputs_embeds=embedded, position_ids=positions[None], use_cache=False, sequences=sequences)
        logits: Tensor = output.logits[0]
        return logits
