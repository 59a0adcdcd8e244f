"""The configs of protocols are read, and hold what the field does."""

from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser

from evatok.cli.arguments import parse_config
from evatok.data.toy.games import GamesConfig
from evatok.reports.evaluate import EvaluationConfig
from evatok.reports.generated import SamplingConfig
from evatok.reports.generation import GenerationConfig
from evatok.reports.prediction import PredictionConfig
from evatok.stages.proxy import ProxyConfig
from evatok.tokenizer.config import PRESETS

FOLDER = Path(__file__).parents[2] / "configs"
KINDS: dict[str, type[Any]] = {
    "generation": GenerationConfig,
    "prediction": PredictionConfig,
    "reconstruction": EvaluationConfig,
}
ConfigT = TypeVar("ConfigT")


def read(kind: type[ConfigT], name: str) -> ConfigT:
    """A config as a command reads it."""
    return parse_config(ArgumentParser(exit_on_error=False), [f"--config={FOLDER / name}.yaml"], kind)[0]


def test_every_config_is_read_by_the_command_that_its_name_ends_with() -> None:
    names = sorted(f"{path.parent.name}/{path.stem}" for path in FOLDER.glob("*/evaluate-*.yaml"))
    assert len(names) >= 4
    for name in names:
        kind = name.rpartition("-")[2]
        config = read(KINDS[kind], name)
        assert isinstance(config, KINDS[kind])
        assert f"evatok evaluate {kind} --config configs/{name}.yaml" in (FOLDER / f"{name}.yaml").read_text()


def test_generation_of_ucf() -> None:
    config = read(GenerationConfig, "paper/evaluate-ucf-generation")
    assert config.samples == config.real.clips == 10_000
    assert config.sampling == SamplingConfig(guidance=2.5)
    trained = read(ProxyConfig, "paper/proxy-ucf-k600").data
    assert config.real.sources[0].folder == trained.train[0].folder == "data/ucf101/train"  # type: ignore[attr-defined]
    assert config.held_out and config.held_out.sources[0].folder == trained.validation[0].folder  # type: ignore[attr-defined]
    assert (config.step, config.measured_size) == (1, None)


def test_prediction_on_k600() -> None:
    config = read(PredictionConfig, "paper/evaluate-k600-prediction")
    assert (config.real.clips, config.given, config.measured_size, config.step) == (50_000, 5, (64, 64), 1)
    assert config.sampling == SamplingConfig() and config.given_lengths == [512, 128]


def test_reconstruction_of_ucf() -> None:
    config = read(EvaluationConfig, "paper/evaluate-ucf-reconstruction")
    assert config.fvd and config.w_q == [1.2] and config.size == (128, 128)
    assert config.assignments and tuple(config.assignments[0]) in PRESETS["base"].space


def test_generation_of_games() -> None:
    config = read(GenerationConfig, "tiny/evaluate-games-generation")
    assert config.held_out
    episodes = []
    for side in (config.real, config.held_out):
        (source,) = side.sources
        assert isinstance(source, GamesConfig) and source.games == "all"
        episodes.append(set(range(*source.seeds)))
    assert not episodes[0] & episodes[1]
    assert config.samples == config.real.clips == config.held_out.clips
