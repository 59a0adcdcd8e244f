"""A Llama that reads token by token, each row at a place of its own, and keeps what it has seen."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

# Keys are looked at by so many at once: sums over them round alike then, however many there are.
_STEP = 64
# Of all models and numbers of rows in a process; a dozen widths are 64 to 131,072 tokens.
_MOST_GRAPHS = 256


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
        shape = (rows, heads, _stepped(length), weight.shape[1] // heads)
        self._model = model
        self._keys = [torch.zeros(shape, dtype=weight.dtype, device=weight.device) for _ in layers]
        self._values = [torch.zeros_like(each) for each in self._keys]

    @torch.no_grad()
    def read(self, tokens: Tensor, places: Tensor, first: int, width: int) -> Tensor:
        """Logits `(n, V)` after the last of some tokens, each of which sees the tokens of its row up to itself.

        Args:
            tokens: `(n, L)`.
            places: `(n, L)`, of the tokens in their sequences.
            first: of the n rows.
            width: all places are below it.
        """
        return self._layers(tokens, places, first, _stepped(width))

    def _layers(self, tokens: Tensor, places: Tensor, first: int, width: int) -> Tensor:
        """What `read` says; keys and values below `width` are looked at, whatever is in them."""
        from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

        llama = self._model.model
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
        for each in (*self._keys, *self._values):
            each[target : target + count] = each[source : source + count]


class CompiledLlama(CachedLlama):
    """The same, where the reading of a token is compiled: on a GPU as CUDA graphs, which a step then launches at once.

    It is always of all rows, and widths double: a few shapes serve whatever rows run and however long they are. Each
    takes its time when it first comes, for all caches of as many rows.

    Args:
        model, rows, length: as of `CachedLlama`.
        backend: of `torch.compile`.
    """

    def __init__(self, model: "LlamaForCausalLM", rows: int, length: int, backend: str = "inductor") -> None:
        super().__init__(model, rows, length)
        self.rows, self._longest = rows, _stepped(length)
        for each in (*self._keys, *self._values):
            torch._dynamo.mark_static_address(each)  # a graph writes them where they are
        mode = "reduce-overhead" if backend == "inductor" and model.device.type == "cuda" else None
        self._compiled = torch.compile(self._layers, fullgraph=True, dynamic=False, backend=backend, mode=mode)

    @torch.no_grad()
    def read(self, tokens: Tensor, places: Tensor, first: int, width: int) -> Tensor:
        """Logits `(n, V)` as those of `CachedLlama`. Of one token, rows from the n-th on lose what they know."""
        if tokens.shape[1] > 1:
            return super().read(tokens, places, first, width)
        others = (0, 0, 0, self.rows - len(tokens))
        doubled = _STEP << (-(-width // _STEP) - 1).bit_length()
        with torch._dynamo.config.patch(recompile_limit=_MOST_GRAPHS):
            logits = self._compiled(F.pad(tokens, others), F.pad(places, others), 0, min(doubled, self._longest))
        return logits[: len(tokens)]


def _stepped(length: int) -> int:
    return -(-length // _STEP) * _STEP
