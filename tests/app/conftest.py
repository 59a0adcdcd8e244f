"""What tests of the web demo share."""

from pathlib import Path

import pytest

from evatok.app.comparing import Models
from evatok.app.visit import Visit
from tests.app.small import small_models


@pytest.fixture(scope="session")
def models() -> Models:
    """Small ones with random weights."""
    return small_models()


@pytest.fixture
def visit(tmp_path: Path) -> Visit:
    """A visitor's."""
    return Visit.begin(tmp_path)
