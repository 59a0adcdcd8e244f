"""The configs that come with the project are read, and hold what they say."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from jsonargparse import ArgumentParser
from transformers import LlamaForCausalLM

from evatok.cli.arguments import parse_config
from evatok.codec.token_parts import TokenizeConfig
from evatok.data.toy.games import GamesConfig
from evatok.generator.config import GENERATOR_PRESETS, GeneratorConfig
from evatok.losses.discriminator import PatchDiscriminator, PatchDiscriminatorConfig
from evatok.nn.transformer import TransformerConfig
from evatok.reports.evaluate import EvaluationConfig
from evatok.reports.judging import JudgingConfig
from evatok.router.config import ROUTER_PRESETS
from evatok.stages.final import FinalConfig
from evatok.stages.generator import GeneratorTrainingConfig
from evatok.stages.proxy import ProxyConfig
from evatok.stages.router import RouterTrainingConfig
from evatok.stages.search.parts import SearchConfig
from evatok.tokenizer.config import PRESETS
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.network import TokenizerNetwork
from evatok.tokens.records import TokenFormat

FOLDER = Path(__file__).parents[1] / "configs"
# Those of the miniature are read after those of the tiny tokenizer.
PROXIES = sorted(path for path in FOLDER.glob("*/proxy*.yaml") if path.parent.name != "miniature")
TINY, PAPER = FOLDER / "tiny", FOLDER / "paper"
ConfigT = TypeVar("ConfigT")


def read(kind: type[ConfigT], *paths: Path) -> ConfigT:
    """A config as a command reads it from files, the later ones over the earlier."""
    return parse_config(ArgumentParser(exit_on_error=False), [f"--config={path}" for path in paths], kind)[0]


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
    blockwise = read(RouterTrainingConfig, TINY / "router.yaml", TINY / "router-blockwise.yaml")
    assert blockwise.model == ROUTER_PRESETS["tiny-blockwise"] and blockwise.train == regression.train
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


FINALS = {
    "tiny": [TINY / "final.yaml"],
    "tiny, best fixed": [TINY / "final.yaml", TINY / "final-fixed.yaml"],
    "tiny, uniform": [TINY / "final.yaml", TINY / "final-uniform.yaml"],
    "WebVid": [PAPER / "proxy-webvid.yaml", PAPER / "final-webvid.yaml"],
    "UCF-101 and Kinetics-600": [PAPER / "proxy-ucf-k600.yaml", PAPER / "final-ucf-k600.yaml"],
    "images": [PAPER / "proxy-webvid.yaml", PAPER / "image-proxy.yaml", PAPER / "image-final.yaml"],
}


@pytest.mark.parametrize("name", FINALS)
def test_final_tokenizers_of_configs_are_those_of_their_proxies(name: str) -> None:
    proxies = {"tiny": [TINY / "proxy.yaml"]}.get(name.partition(",")[0], FINALS[name][:-1])
    proxy, final = read(ProxyConfig, *proxies), read(FinalConfig, *FINALS[name])
    assert replace(final.model, overlap=0) == proxy.model and final.model.overlap == (2 if "tiny" in name else 0)
    assert final.data.train == proxy.data.train and final.loss == proxy.loss
    assert final.data.validation == proxy.data.validation and final.folder != proxy.folder
    shares = {"tiny, best fixed": "best_fixed", "tiny, uniform": "uniform"}
    assert final.lengths.by == shares.get(name, "router")
    assert (final.semantic is None) == (name == "images")


def test_twins_differ_in_who_gives_lengths_alone() -> None:
    final, *twins = (read(FinalConfig, *FINALS[name]) for name in FINALS if name.startswith("tiny"))
    assert {twin.lengths.by for twin in twins} == {"best_fixed", "uniform"}
    for twin in twins:
        assert replace(twin, folder=final.folder, lengths=replace(twin.lengths, by="router")) == final


def test_the_paper_s_final_tokenizers_are_trained_as_the_paper_says() -> None:
    larps = PatchDiscriminatorConfig(side=128, transformer=TransformerConfig(384, 8, 12))
    for name in ("WebVid", "UCF-101 and Kinetics-600"):
        config = read(FinalConfig, *FINALS[name])
        assert (config.loop.steps, config.lengths.w_q, config.init_from) == (1_000_000, 1.2, None)
        assert config.alignment is not None and config.alignment.model.weight == 0.7
        assert config.discriminator is not None and config.discriminator.model == larps
        assert config.optimizer.lr == 1e-4 and config.optimizer.lr * config.optimizer.final == pytest.approx(1e-6)
        router = read(RouterTrainingConfig, PAPER / "router-webvid.yaml", PAPER / f"router-{config.folder[11:]}.yaml")
        assert config.lengths.router == f"{router.folder}/final"
    image = read(FinalConfig, *FINALS["images"])
    assert (image.model.blocks, len(image.model.levels), image.lengths.w_q) == (1, 8, 1.3)
    assert (image.model.levels[0], image.model.levels[-1]) == (32, 512)


@pytest.mark.parametrize("name", FINALS)
def test_models_of_final_configs_are_built_and_have_the_paper_s_size(name: str) -> None:
    config = read(FinalConfig, *FINALS[name])
    with torch.device("meta"):
        tokenizer = TokenizerNetwork(config.model)
        assert config.discriminator is not None
        discriminator = PatchDiscriminator(config.discriminator.model)
    millions = sum(weight.numel() for weight in tokenizer.parameters()) / 1e6
    if name.startswith("tiny"):
        assert millions < 8
    else:
        # 145M in the paper; those of images lack nothing but pixels of three further frames.
        assert 0.95 * 145 < millions < 1.03 * 145
        # LARP's: 8 layers of 12 * 384^2 weights, and patches.
        assert 14 < sum(weight.numel() for weight in discriminator.parameters()) / 1e6 < 16


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
    assert training.tokenizer == held_out.tokenizer == f"evatok-{model}-proxy"
    assert evaluation.tokenizer == ("evatok-tiny" if model == "tiny" else held_out.tokenizer)
    assert trained[0].model.levels == proxy.model.levels and held_out.sources == proxy.data.validation
    assert len(held_out.sources) * held_out.clips >= 500


def test_games_are_tokenized_for_a_generator_as_their_tokenizer_was_trained() -> None:
    config, proxy = read(TokenizeConfig, TINY / "tokenize-games.yaml"), read(ProxyConfig, TINY / "proxy.yaml")
    assert config.tokenizer == "evatok-tiny" and config.size == (proxy.model.side,) * 2
    assert config.data == [GamesConfig("all", seeds=(0, 8))] and config.request == LengthRequest()


GENERATORS = {
    "tiny": [TINY / "generator.yaml"],
    "UCF-101": [PAPER / "generator-ucf.yaml"],
    "Kinetics-600": [PAPER / "generator-ucf.yaml", PAPER / "generator-k600.yaml"],
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_of_configs_are_presets_and_go_by_the_field_s_schedule(name: str) -> None:
    config = read(GeneratorTrainingConfig, *GENERATORS[name])
    assert config.size == GENERATOR_PRESETS["gpt-tiny" if name == "tiny" else "gpt-l-plus"]
    assert (config.optimizer.schedule, config.optimizer.decay, config.optimizer.final) == ("wsd", 0.2, 0.0)
    assert config.class_dropout == (0 if name == "Kinetics-600" else 0.1)
    assert config.data.train and config.data.validation and config.data.train != config.data.validation


def test_the_paper_s_generators_are_trained_as_the_paper_and_larp_say() -> None:
    final = read(FinalConfig, *FINALS["UCF-101 and Kinetics-600"])
    for name, videos, epochs, warm_up, tokens in (
        ("UCF-101", 9537, 3000, 4, 756),
        ("Kinetics-600", 390_000, 75, 1, 862),
    ):
        config = read(GeneratorTrainingConfig, *GENERATORS[name])
        assert config.tokenizer == f"{final.folder}/final"
        assert config.loop.steps == pytest.approx(epochs * videos / 64, rel=0.01)
        assert config.optimizer.warmup == pytest.approx(warm_up * videos / 64, rel=0.01)
        assert 8 * config.batch * config.loop.accumulate == pytest.approx(64 * (tokens + 6), rel=0.01)
        assert (config.optimizer.lr, config.optimizer.betas, config.optimizer.weight_decay) == (6e-4, (0.9, 0.95), 0.05)


@pytest.mark.parametrize(("preset", "millions"), [("gpt-b", 99), ("gpt-l", 327), ("gpt-l-plus", 633)])
def test_the_paper_s_generators_have_its_sizes(preset: str, millions: int) -> None:
    tokens = TokenFormat((32, 64, 128, 256, 512), 8192, 4, 4, "ucf-k600", "")
    classes = tuple(f"class {number}" for number in range(101))
    config = GeneratorConfig(GENERATOR_PRESETS[preset], tokens, (128, 128), 25.0, classes)
    with torch.device("meta"):
        llama = LlamaForCausalLM(config.llama())
    assert sum(weight.numel() for weight in llama.parameters()) / 1e6 == pytest.approx(millions, rel=0.03)
