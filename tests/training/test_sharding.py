"""Sharding itself is tested by training in two processes (integration/test_processes.py)."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import DistributedType
from torch import nn

from evatok.training.sharding import prepare, whole_weights, writable


def test_first_version_is_refused() -> None:
    plugin = SimpleNamespace(fsdp_version=1)
    launched: Any = SimpleNamespace(distributed_type=DistributedType.FSDP, state=SimpleNamespace(fsdp_plugin=plugin))
    with pytest.raises(ValueError, match="fsdp_version must be 2, got 1"):
        prepare(launched, [])


def test_network_that_is_not_sharded_stays_itself() -> None:
    network = nn.Linear(2, 3)
    with writable(network), torch.no_grad():
        network.bias.fill_(7)
    assert network.bias.tolist() == [7, 7, 7]
    assert all(a is b for a, b in zip(whole_weights(network).parameters(), network.parameters(), strict=True))
    normed = nn.BatchNorm1d(4)
    assert all(a is b for a, b in zip(whole_weights(normed).buffers(), normed.buffers(), strict=True))
