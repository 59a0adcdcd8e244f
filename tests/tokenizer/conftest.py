"""Tests of this room hold for both forms of the tokenizer: the paper's, and the one with a sketch."""

import pytest

from evatok.tokenizer.model import VideoTokenizer
from tests.conftest import MINI, SKETCHED, random_tokenizer


@pytest.fixture(scope="session", params=[MINI, SKETCHED], ids=["paper", "sketch"])
def mini(request: pytest.FixtureRequest) -> VideoTokenizer:
    """A tokenizer with random weights that is small enough for any test."""
    return random_tokenizer(request.param)
