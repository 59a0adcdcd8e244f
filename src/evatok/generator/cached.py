"""A Llama that reads token by token, each row at a place of its own, and keeps what it has seen."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

# Keys are looked at by so many at once: sums over them round alike then, however many there are.
_STEP = 64


class CachedLlama:
    """The layers of a Llama with keys and values of all rows, whose memory is taken once.

    Args:
        model: whose dtype and device hold here too.
        rows: sequences that are read side by side.
        length: tokens of the longest.
    """

    # Not transformers' StaticCache: there all rows are at one place.

    def __init__(self, model: "LlamaForCausalLM", rows: int, length: int) -> None:
        layers, heads, weight = model.model.layers, model.config.num_attention_heads, model.lm_head.weight
        shape = (len(layers), rows, heads, _stepped(length), weight.shape[1] // heads)
        self._model = model
        self._keys = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        self._values = torch.zeros_like(self._keys)

    @torch.no_grad()
    def read(self, tokens: Tensor, places: Tensor, first: int, width: int) -> Tensor:
        """Logits `(n, V)` after the last of some tokens, each of which sees the tokens of its row up to itself.

        Args:
            tokens: `(n, L)`.
            places: `(n, L)`, of the tokens in their sequences.
            first: of the n rows.
            width: all places are below it.
        """
        from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

        llama, width = self._model.model, _stepped(width)
        rows = torch.arange(first, first + len(tokens), device=tokens.device)[:, None]
        seen = (torch.arange(width, device=tokens.device) <= places[..., None])[:, None]
        hidden = llama.embed_tokens(tokens)
        cos, sin = llama.rotary_emb(hidden, position_ids=places)
        for layer, keys, values in zip(llama.layers, self._keys, self._values, strict=True):
            attention, normed = layer.self_attn, layer.input_layernorm(hidden)
            query, key, value = (
                project(normed).unflatten(2, (-1, attention.head_dim))
                for project in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            query, key = apply_rotary_pos_emb(query, key, cos, sin, unsqueeze_dim=2)
            keys[rows, :, places], values[rows, :, places] = key, value
            keys, values = (each[first : first + len(tokens), :, :width] for each in (keys, values))
            mixed = F.scaled_dot_product_attention(query.transpose(1, 2), keys, values, attn_mask=seen)
            hidden = hidden + attention.o_proj(mixed.transpose(1, 2).flatten(2))
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        logits: Tensor = self._model.lm_head(llama.norm(hidden[:, -1]))
        return logits

    def move(self, source: int, target: int, count: int) -> None:
        """Copies what is known of `count` rows over that of others."""
        for each in (self._keys, self._values):
            each[:, target : target + count] = each[:, source : source + count]


def _stepped(length: int) -> int:
    return -(-length // _STEP) * _STEP
