"""Sharding itself is tested by training in two processes (integration/test_processes.py)."""

from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import DistributedType

from evatok.training.preparing import prepare


def test_first_version_is_refused() -> None:
    plugin = SimpleNamespace(fsdp_version=1)
    launched: Any = SimpleNamespace(distributed_type=DistributedType.FSDP, state=SimpleNamespace(fsdp_plugin=plugin))
    with pytest.raises(ValueError, match="fsdp_version must be 2, got 1"):
        prepare(launched, [])
