"""The configs that come with the project are read, and hold what they say."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.common import read_config
from evatok.tokenizer.config import PRESETS

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*/proxy*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_models_of_configs_are_presets(path: Path) -> None:
    config = read_config([f"--config={path}"])
    preset = PRESETS["base" if path.parent.name == "paper" else path.parent.name]
    assert replace(config.model, quantizer=preset.quantizer) == preset
    assert config.data.clips.sizes[0] == (config.model.side,) * 2


def test_every_preset_has_a_config() -> None:
    assert {path.parent.name for path in CONFIGS} == {"tiny", "small", "paper"}
