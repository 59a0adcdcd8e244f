"""A run of the toy for many tests."""

import shutil
from pathlib import Path

import pytest

from tests.toy import last, run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of 6 steps, and the same as if it had been killed after step 4."""
    folder = tmp_path_factory.mktemp("made")
    run(folder / "whole")
    shutil.copytree(folder / "whole", folder / "begun")
    shutil.rmtree(last(folder / "begun"))
    shutil.rmtree(folder / "begun" / "final")
    return folder / "whole", folder / "begun"


@pytest.fixture
def begun(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """A run of 6 steps that was killed, with checkpoints at 2 and 4; the first has a model without any update."""
    return Path(shutil.copytree(made[1], tmp_path / "begun"))
