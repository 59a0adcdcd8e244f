"""Tests of this room hold for every form of the tokenizer: the paper's, with a sketch, in passes, with overlap."""

import pytest

from evatok.tokenizer.model import VideoTokenizer
from tests.conftest import IN_PASSES, MINI, OVERLAPPING, SKETCHED, random_tokenizer


@pytest.fixture(
    scope="session", params=[MINI, SKETCHED, IN_PASSES, OVERLAPPING], ids=["paper", "sketch", "passes", "overlap"]
)
def mini(request: pytest.FixtureRequest) -> VideoTokenizer:
    """A tokenizer with random weights that is small enough for any test."""
    return random_tokenizer(request.param)
