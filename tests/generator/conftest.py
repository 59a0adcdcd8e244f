"""A generator that is small enough for any test."""

import pytest
import torch

from evatok.generator.config import GeneratorConfig, GeneratorSize
from evatok.generator.model import VideoGenerator
from tests.conftest import MINI, random_tokenizer


def random_generator(clips: int = 1) -> VideoGenerator:
    """A generator with random weights, the same each time, large enough that every token counts."""
    tokenizer = random_tokenizer(MINI)
    config = GeneratorConfig(GeneratorSize(64, 2, 4), tokenizer.token_format, (32, 32), 8.0, ("pong", "boxing"), clips)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = VideoGenerator(config, tokenizer=tokenizer)
        for weight in generator.model.parameters():
            if weight.ndim == 2:
                torch.nn.init.normal_(weight, std=0.15)
    return generator


@pytest.fixture(scope="session")
def generator() -> VideoGenerator:
    return random_generator()
