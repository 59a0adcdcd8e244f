"""CUDA graphs on a CPU: what was captured is recorded operation by operation, and done again by each replay."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, UntypedStorage
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from evatok.nn import attention
from evatok.nn.attention import VarlenTables


class RecordedGraph:
    """As a graph does, it works on the memory that it was captured with, and knows nothing of the program."""

    def __init__(self) -> None:
        self.operations: list[tuple[Callable[..., Any], Any, Any]] = []

    @torch.no_grad()
    def replay(self) -> None:
        """Does it all again."""
        for operation, (args, named), output in self.operations:
            for old, new in zip(_tensors(output), _tensors(operation(*args, **named)), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    def inputs(self) -> list[UntypedStorage]:
        """Memory that it reads and has not made."""
        made, found = set[int](), dict[int, UntypedStorage]()
        for _, given, output in self.operations:
            for storage in map(Tensor.untyped_storage, _tensors(given)):
                if storage.data_ptr() not in made:
                    found[storage.data_ptr()] = storage
            made |= {each.untyped_storage().data_ptr() for each in _tensors(output)}
        return list(found.values())


class _Recording(TorchDispatchMode):
    def __init__(self, graph: RecordedGraph, **_: Any) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a number is waited for, which a capture cannot")
        # Aliases, for a tensor's shape may be changed in place. What does that changes no memory.
        given = _aliases((args, kwargs or {}))
        output = operation(*args, **(kwargs or {}))
        if torch.Tag.inplace_view not in operation.tags:
            self.graph.operations.append((operation, given, _aliases(output)))
        return output


class _Stream:
    def wait_stream(self, other: "_Stream") -> None:
        """Everything waits for everything."""


def _tensors(values: Any) -> Iterator[Tensor]:
    return (each for each in tree_leaves(values) if isinstance(each, Tensor))


def _aliases(values: Any) -> Any:
    return tree_map_only(Tensor, Tensor.detach, values)


def _kernel(q: Tensor, k: Tensor, v: Tensor, tables: VarlenTables) -> Tensor:
    """What the kernel for unequal lengths does, by a mask over all of them."""
    mine, seen = (
        torch.searchsorted(starts.long(), torch.arange(len(rows)), right=True)
        for starts, rows in ((tables.queries, q), (tables.keys, k))
    )
    q, k, v = (each.transpose(0, 1) for each in (q, k, v))
    return scaled_dot_product_attention(q, k, v, attn_mask=mine[:, None] == seen).transpose(0, 1)


def record_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets captures record; attention goes the way that it goes on a GPU in half precision, with its tables."""
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", _Stream)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", RecordedGraph)
    monkeypatch.setattr(torch.cuda, "graph", _Recording)
    monkeypatch.setattr(attention, "_attend_slices", attention._attend_varlen)
    monkeypatch.setattr(attention, "_varlen_kernel", _kernel)
