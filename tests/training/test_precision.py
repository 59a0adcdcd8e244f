"""What `auto` comes to, and the warning where bf16 is emulated."""

import pytest

from evatok.training.loop import LoopConfig


@pytest.mark.parametrize("native", ["bf16", "no"])
def test_auto_is_what_the_machine_has(monkeypatch: pytest.MonkeyPatch, native: str) -> None:
    monkeypatch.setattr("evatok.training.loop.native_precision", lambda: native)
    assert LoopConfig(precision="auto").on_this_machine().precision == native
    assert LoopConfig(precision="bf16").on_this_machine().precision == "bf16"
    assert LoopConfig(precision="no").on_this_machine().precision == "no"
