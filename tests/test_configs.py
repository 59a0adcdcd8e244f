"""The configs that come with the project are read, and hold what they say."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from jsonargparse import ArgumentParser

from evatok.cli.arguments import parse_config
from evatok.reports.evaluate import EvaluationConfig
from evatok.reports.judging import JudgingConfig
from evatok.router.config import ROUTER_PRESETS
from evatok.stages.proxy import ProxyConfig
from evatok.stages.router import RouterTrainingConfig
from evatok.stages.search.parts import SearchConfig
from evatok.tokenizer.config import PRESETS

FOLDER = Path(__file__).parents[1] / "configs"
PROXIES = sorted(FOLDER.glob("*/proxy*.yaml"))
TINY = FOLDER / "tiny"
ConfigT = TypeVar("ConfigT")


def read(kind: type[ConfigT], *paths: Path) -> ConfigT:
    """A config as a command reads it from files, the later ones over the earlier."""
    parser = ArgumentParser(exit_on_error=False)
    return parse_config(parser, lambda: parser.parse_args([f"--config={path}" for path in paths]), kind)[0]


@pytest.mark.parametrize("path", PROXIES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_models_of_configs_are_presets(path: Path) -> None:
    config = read(ProxyConfig, path)
    preset = PRESETS["base" if path.parent.name == "paper" else path.parent.name]
    assert replace(config.model, quantizer=preset.quantizer) == preset
    assert config.data.clips.sizes[0] == (config.model.side,) * 2


def test_every_preset_has_a_config() -> None:
    assert {path.parent.name for path in PROXIES} == {"tiny", "mini", "small", "paper"}


def test_routers_of_configs_are_presets_of_two_kinds() -> None:
    regression = read(RouterTrainingConfig, TINY / "router.yaml")
    classification = read(RouterTrainingConfig, TINY / "router.yaml", TINY / "router-classification.yaml")
    assert regression.model == ROUTER_PRESETS["tiny"]
    assert classification.model == replace(regression.model, head="classification")
    assert (regression.train, regression.batch) == (classification.train, classification.batch)
    assert classification.loss.w_q == (1.2, 1.2) and classification.loss.hard == 1
    assert read(RouterTrainingConfig, FOLDER / "paper" / "router-webvid.yaml").model == ROUTER_PRESETS["paper"]


@pytest.mark.parametrize("data", ["webvid", "ucf-k600"])
def test_configs_of_the_paper_name_what_others_write(data: str) -> None:
    """Those of UCF-101 and Kinetics-600 are read over those of WebVid, and those of held-out clips over both."""
    paper = FOLDER / "paper"
    searches = [paper / f"search-{name}.yaml" for name in dict.fromkeys(("webvid", data))]
    routers = [paper / f"router-{name}.yaml" for name in dict.fromkeys(("webvid", data))]
    proxy, search = read(ProxyConfig, paper / f"proxy-{data}.yaml"), read(SearchConfig, *searches)
    held_out = read(SearchConfig, *searches, paper / f"search-{data}-validation.yaml")
    router = read(RouterTrainingConfig, *routers)
    assert search.tokenizer == held_out.tokenizer == f"{proxy.folder}/final"
    assert (search.sources, held_out.sources) == (proxy.data.train, proxy.data.validation)
    assert (router.train, router.validation) == (search.folder, held_out.folder)
    assert (search.drawn, search.clips, search.paths, held_out.drawn) == ("random", 100_000, None, "held_out")
    assert search.size == held_out.size == (proxy.model.side,) * 2 and router.model.levels == proxy.model.levels
    assert search.lpips_net == held_out.lpips_net == proxy.loss.lpips_net and router.loss.w_q == (1.2, 1.2)


@pytest.mark.parametrize(
    ("model", "routers"), [("tiny", [["router"], ["router", "router-classification"]]), ("mini", [["router"]])]
)
def test_configs_of_judging_name_what_others_write(model: str, routers: list[list[str]]) -> None:
    folder = FOLDER / model
    judging, training = read(JudgingConfig, folder / "curve.yaml"), read(SearchConfig, folder / "search.yaml")
    held_out = read(SearchConfig, folder / "search-validation.yaml")
    assert (judging.train, judging.held_out) == (training.folder, held_out.folder)
    trained = [read(RouterTrainingConfig, *(folder / f"{name}.yaml" for name in names)) for names in routers]
    assert all((each.train, each.validation) == (training.folder, held_out.folder) for each in trained)
    assert list(judging.routers.values()) == [f"{each.folder}/final" for each in trained]
    evaluation, proxy = read(EvaluationConfig, folder / "evaluation.yaml"), read(ProxyConfig, folder / "proxy.yaml")
    assert training.tokenizer == held_out.tokenizer == evaluation.tokenizer == f"evatok-{model}-proxy"
    assert trained[0].model.levels == proxy.model.levels and held_out.sources == proxy.data.validation
    assert len(held_out.sources) * held_out.clips >= 500
