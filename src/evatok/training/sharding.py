"""Weights spread over processes by FSDP2: each process holds a part of every weight, as a `DTensor`.

Everything here does what it says for a model that is not sharded too.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor


def full_tensor(tensor: Tensor) -> Tensor:
    """A tensor with the parts of all processes, which must all call it."""
    return tensor.full_tensor().detach() if isinstance(tensor, DTensor) else tensor


def part(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor that is sharded `like` another; one of another shape stays whole."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def here(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds, as a plain tensor that shares its memory."""
    return tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor.detach()


def kept_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """A network's weights as they are kept between passes; a pass may leave them gathered, which ends here."""
    for module in _sharded_modules(network):
        module.reshard()
    return dict(network.named_parameters())


@contextmanager
def writable(network: nn.Module) -> Iterator[None]:
    """Within, a network's weights are whole plain tensors; what all processes alike write into them is kept."""
    modules = _sharded_modules(network)
    for module in modules:
        module.unshard()
    yield
    if modules:
        written = {name: weight.detach().clone() for name, weight in network.named_parameters()}
        with torch.no_grad():
            for name, weight in kept_weights(network).items():
                weight.copy_(part(written[name], weight))


def _sharded_modules(network: nn.Module) -> list[FSDPModule]:
    return [module for module in network.modules() if isinstance(module, FSDPModule)]
