"""How threads wait is said before torch is imported, and what the user has said stays."""

import os
import subprocess
import sys

import pytest

PROBE = """
import importlib.abc, os, sys

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"), flush=True)
            sys.exit()

sys.meta_path.insert(0, Watch())
from evatok import VideoTokenizer
"""


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ({}, "10000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
        ({"OMP_WAIT_POLICY": "active"}, "None active"),
    ],
)
def test_threads_are_told_how_to_wait_before_torch_loads(said: dict[str, str], seen: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", PROBE], env=kept | said, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == seen
