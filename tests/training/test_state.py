"""What a checkpoint holds is taken up to the bit."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.runs import differing_files
from tests.toy import last, run


def test_a_resume_from_any_checkpoint_ends_as_an_undisturbed_run(made: tuple[Path, Path], begun: Path) -> None:
    second = Path(shutil.copytree(begun, begun.with_name("second")))
    shutil.rmtree(last(second))
    for folder in (begun, second):
        task = run(folder, resume=True)
        assert differing_files(made[0], folder) == []
        assert task.seen.tolist() == [2, 2, 2] and task.sum.item() == pytest.approx(1.5)
        record = json.loads((folder / "final" / "training.json").read_text())
        assert (record["steps"], record["clips"], record["skipped"]) == (6, 6, 1)
    assert {path.name for path in last(begun).iterdir()} == {
        *(f"maker.{part}.safetensors" for part in ("weights", "optimizers", "average")),
        *(f"judge.{part}.safetensors" for part in ("weights", "optimizers")),
        *("task.safetensors", "progress.json", "checkpoint.json", "export"),
    }
    memory = load_file(last(begun) / "maker.optimizers.safetensors")
    assert {name for name in memory if name.startswith("layers")} == {
        "layers.0.weight.momentum_buffer",
        *(f"layers.0.bias.{what}" for what in ("step", "exp_avg", "exp_avg_sq")),
    }
    # The skipped step reached no optimiser, and the second model came later.
    assert memory["first.bias.step"] == load_file(last(begun) / "maker.average.safetensors")["n_averaged"] == 5
    assert load_file(last(begun) / "judge.optimizers.safetensors")["weight.step"] == 3


def test_an_average_may_come_and_go(begun: Path) -> None:
    without = run(begun, 5, resume=True, ema_decay=None)
    assert without.trained["maker"].average is None
    assert not (last(begun) / "maker.average.safetensors").exists()
    average = run(begun, resume=True).trained["maker"].average
    assert average is not None and average.steps == 1
