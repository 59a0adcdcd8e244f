"""The transformer layers of encoder and decoder: self-attention, cross-attention, MLP (paper, section 3).

A layer accepts the keys and values of earlier blocks and hands its own on, so the full forward pass, the search over
assignments and streaming are three uses of the same code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from evatok.nn.attention import Segments, attend
from evatok.nn.packed import Layout, Packed, append_blocks, pick_clips
from evatok.nn.positions import rotate
from evatok.utils.configs import check_between, check_least

# Residual branches start small: full-size ones collapse the codebook at the start of training.
RESIDUAL_START = 0.3
# Of u in tanh(u / 2): what x and x cubed are multiplied by.
_GELU = 2 * (2 / pi) ** 0.5, 2 * (2 / pi) ** 0.5 * 0.044715


@dataclass(frozen=True)
class TransformerConfig:
    """Size of a stack of layers.

    Args:
        width: channels, a multiple of `heads`, at most 8192.
        depth: number of layers, 1 to 128.
        heads: attention heads; `width / heads` must be a multiple of 16.
        mlp_ratio: hidden channels of the MLP over `width`, at most 16.
    """

    width: int = 256
    depth: int = 4
    heads: int = 4
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        check_least(self, 1, "heads")
        check_between(self, 1, 8192, "width")
        check_between(self, 1, 128, "depth")
        check_between(self, 1, 16, "mlp_ratio")
        if self.width % (16 * self.heads):
            raise ValueError(f"width must be a multiple of 16 * heads = {16 * self.heads}, got {self.width}")


@dataclass(frozen=True)
class KeyValues:
    """Keys and values `(N, heads, head_dim)` of the blocks that an attention has seen."""

    keys: Packed
    values: Packed

    def after(self, earlier: "KeyValues | None") -> "KeyValues":
        """These blocks behind the earlier ones."""
        if earlier is None:
            return self
        return KeyValues(append_blocks(earlier.keys, self.keys), append_blocks(earlier.values, self.values))


@dataclass(frozen=True)
class LayerMemory:
    """What a layer hands to the blocks that follow: what its self- and its cross-attention have seen."""

    own: KeyValues
    cross: KeyValues


def pick_layers(parts: Sequence[tuple[LayerMemory, ...]], places: Sequence[tuple[int, int]]) -> tuple[LayerMemory, ...]:
    """What each layer has seen of clips out of several parts, as `pick_clips` picks them."""

    def picked(seen: Sequence[KeyValues]) -> KeyValues:
        keys, values = ([getattr(each, name) for each in seen] for name in ("keys", "values"))
        return KeyValues(pick_clips(keys, places), pick_clips(values, places))

    return tuple(
        LayerMemory(picked([memory.own for memory in layer]), picked([memory.cross for memory in layer]))
        for layer in zip(*parts, strict=True)
    )


@dataclass(frozen=True)
class Located:
    """Elements with the rotary angles of their positions."""

    packed: Packed
    angles: Tensor


class SelfAttention(nn.Module):
    """What attention among the elements themselves has of its own."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, angles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Elements `(N, width)` to their queries, keys and values, each `(N, heads, head_dim)`."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k = rotate(qkv[:, :2], angles[:, :, None]).unbind(1)
        return q, k, qkv[:, 2]


class CrossAttention(nn.Module):
    """What attention from the elements to a reference has of its own."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        """Elements `(N, width)` to their queries `(N, heads, head_dim)`."""
        return rotate(self.q(x).unflatten(-1, (self.heads, -1)), angles)

    def read(self, reference: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        """The reference's elements `(M, width)` to their keys and values, each `(M, heads, head_dim)`."""
        k, v = self.kv(reference).unflatten(-1, (2, self.heads, -1)).unbind(1)
        return rotate(k, angles), v


class TransformerLayer(nn.Module):
    """Self-attention over elements, cross-attention to a reference, MLP, each on a normalised residual stream.

    What happens between two attentions is a method on plain tensors `(N, ...)`, and may be compiled: `compile_layers`.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm_own = nn.LayerNorm(width, bias=False)
        self.own = SelfAttention(width, config.heads)
        self.norm_cross = nn.LayerNorm(width, bias=False)
        self.cross = CrossAttention(width, config.heads)
        self.norm_mlp = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, config.mlp_ratio * width, bias=False)
        self.down = nn.Linear(config.mlp_ratio * width, width, bias=False)

    def forward(self, x: Located, reference: Located, earlier: LayerMemory | None) -> tuple[Located, LayerMemory]:
        """Elements after the layer, and what the blocks that follow need of it."""
        values, layout = x.packed.values, x.packed.layout
        q, k, v = self.self_qkv(values, x.angles)
        own = KeyValues(Packed(k, layout), Packed(v, layout)).after(earlier.own if earlier else None)
        values, q = self.cross_q(values, _attend(q, layout, own), x.angles)
        k, v = self.cross_kv(reference.packed.values, reference.angles)
        layout_kv = reference.packed.layout
        cross = KeyValues(Packed(k, layout_kv), Packed(v, layout_kv)).after(earlier.cross if earlier else None)
        values = self.output_mlp(values, _attend(q, layout, cross))
        return Located(x.packed.with_values(values), x.angles), LayerMemory(own, cross)

    def self_qkv(self, x: Tensor, angles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Elements `(N, width)` to queries, keys and values of the self-attention."""
        return self.own(self.norm_own(x), angles)

    def cross_q(self, x: Tensor, attended: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        """Elements and what their self-attention gave `(N, heads, head_dim)` to new elements and queries."""
        x = x + self.own.out(attended.flatten(1))
        return x, self.cross(self.norm_cross(x), angles)

    def cross_kv(self, reference: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        """The reference's elements `(M, width)` to keys and values of the cross-attention."""
        return self.cross.read(reference, angles)

    def output_mlp(self, x: Tensor, attended: Tensor) -> Tensor:
        """Elements and what their cross-attention gave `(N, heads, head_dim)` to the layer's output `(N, width)`."""
        x = x + self.cross.out(attended.flatten(1))
        return x + self.down(_gelu(self.up(self.norm_mlp(x))))


def _gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form; where no gradient is needed, by the sigmoid that it equals.

    Without wide vector units a tanh takes three times as long as a sigmoid, and a sixth of the search.
    """
    if x.requires_grad:
        return F.gelu(x, approximate="tanh")
    gate = x.square().mul_(_GELU[1]).add_(_GELU[0]).mul_(x).sigmoid_()
    return gate.mul_(x)


def _attend(q: Tensor, layout: Layout, memory: KeyValues) -> Tensor:
    return attend(q, memory.keys.values, memory.values.values, Segments(layout, memory.keys.layout))


def compile_layers(network: nn.Module, backend: str = "inductor") -> None:
    """Compiles what the transformer layers of a network do between their attentions, in place.

    The number of elements is a variable of what is compiled: no mix of lengths compiles anything anew, and where a
    compiler would make it a constant, it raises. Attention itself stays as it is.
    """
    for layer in network.modules():
        if isinstance(layer, TransformerLayer):
            for name in ("self_qkv", "cross_q", "cross_kv", "output_mlp"):
                setattr(layer, name, _for_any_number(torch.compile(getattr(layer, name), backend=backend)))


def compilations() -> int:
    """How many graphs this process has compiled: a number that rises in the course of a training is one too many."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def recompute_layers(network: nn.Module) -> None:
    """Lets a network's transformer layers be computed again for their gradients, instead of kept; in place."""
    for stack in network.modules():
        if isinstance(stack, Transformer):
            stack.recompute = True


def _elements(layer: TransformerLayer, x: Located, reference: Located) -> Located:
    return layer(x, reference, None)[0]


def _for_any_number(compiled: Callable[..., Any]) -> Callable[..., Any]:
    def call(*tensors: Tensor) -> Any:
        for tensor in tensors:
            # Elements are the first axis; angles have cosine and sine before it.
            torch._dynamo.mark_dynamic(tensor, 1 if tensor.ndim == 4 else 0)
        return compiled(*tensors)

    return call


def _in_layer_precision(x: Located) -> Located:
    """Angles in the precision of what they turn, once for all layers."""
    kind = x.packed.values.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.packed.values.dtype
    return Located(x.packed, x.angles.to(dtype))


class Transformer(nn.Module):
    """A stack of layers and a final norm."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, bias=False)
        self.recompute = False
        # Matrices keep the variance of their input; those that write to the residual stream start small.
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                scale = RESIDUAL_START if name.endswith(("out.weight", "down.weight")) else 1.0
                nn.init.normal_(parameter, std=scale * parameter.shape[1] ** -0.5)

    def forward(
        self,
        x: Located,
        reference: Located,
        earlier: tuple[LayerMemory, ...] | None = None,
        watch: Callable[[int, Tensor], None] | None = None,
    ) -> tuple[Packed, tuple[LayerMemory, ...]]:
        """Elements after all layers, and each layer's memory for the blocks that follow.

        There is no memory where layers are to be computed again for their gradients (`recompute_layers`). `watch` is
        shown the elements `(N, width)` after each layer, with the layer's number, from 1 on.
        """
        x, reference = _in_layer_precision(x), _in_layer_precision(reference)
        memories = []
        for number, layer in enumerate(self.layers):
            if self.recompute and torch.is_grad_enabled() and earlier is None:
                x = checkpoint(_elements, layer, x, reference, use_reentrant=False, preserve_rng_state=False)
            else:
                x, memory = layer(x, reference, earlier[number] if earlier else None)
                memories.append(memory)
            if watch:
                watch(number + 1, x.packed.values)
        return x.packed.with_values(self.norm(x.packed.values)), tuple(memories)
