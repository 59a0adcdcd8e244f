"""Optimisers and their schedule."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.optim import AdamW, Muon

from evatok.nn.transformer import Transformer, TransformerConfig
from evatok.training.optimizers import OptimizerConfig, build_optimizers, relative_rate, set_rate

CONFIG = OptimizerConfig(lr=1e-3, warmup=10, final=0.1)


def test_rate_warms_up_and_follows_a_cosine_to_its_end() -> None:
    rates = [relative_rate(step, 110, CONFIG) for step in range(111)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55) and rates[110] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert relative_rate(500, 110, CONFIG) == pytest.approx(0.1)


def test_a_linear_rate_falls_evenly() -> None:
    config = replace(CONFIG, schedule="linear")
    rates = [relative_rate(step, 110, config) for step in (4, 9, 10, 35, 60, 110, 500)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.775, 0.55, 0.1, 0.1])


def test_wsd_stays_at_the_peak_and_falls_in_the_last_share_of_all_steps() -> None:
    config = replace(CONFIG, schedule="wsd", decay=0.4)
    rates = [relative_rate(step, 100, config) for step in (4, 10, 30, 60, 70, 80, 100)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 1.0, 0.775, 0.55, 0.1])
    assert OptimizerConfig().decay == 0.2
    assert [relative_rate(step, 100, replace(config, decay=0.2)) for step in (79, 90)] == pytest.approx([1.0, 0.55])
    # A fall over all steps begins after the warm-up.
    assert [relative_rate(step, 110, replace(config, decay=1.0)) for step in (10, 60)] == pytest.approx([1.0, 0.55])


def test_muon_takes_the_matrices_of_layers_and_adamw_the_rest() -> None:
    model = torch.nn.ModuleDict({"body": Transformer(TransformerConfig(32, 2, 2)), "head": torch.nn.Linear(32, 4)})
    adamw, muon = build_optimizers(model, OptimizerConfig(kind="muon"))
    assert isinstance(adamw, AdamW) and isinstance(muon, Muon)
    by_muon = {id(weight) for group in muon.param_groups for weight in group["params"]}
    layers = {id(w) for name, w in model.named_parameters() if "layers" in name and w.ndim == 2}
    assert by_muon == layers
    by_adamw = {id(weight) for group in adamw.param_groups for weight in group["params"]}
    assert by_adamw | by_muon == {id(weight) for weight in model.parameters()} and not by_adamw & by_muon


def test_only_matrices_decay_and_frozen_weights_are_left_out() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    model[1].requires_grad_(False)
    [adamw] = build_optimizers(model, OptimizerConfig(weight_decay=0.5))
    decays = {group["weight_decay"]: [tuple(w.shape) for w in group["params"]] for group in adamw.param_groups}
    assert decays == {0.5: [(4, 4)], 0.0: [(4,)]}


def test_set_rate_is_relative_to_each_groups_peak() -> None:
    optimizers = build_optimizers(Transformer(TransformerConfig(32, 1, 2)), OptimizerConfig(kind="muon", lr=1e-3))
    for optimizer in optimizers:
        set_rate(optimizer, 0.5)
        set_rate(optimizer, 0.25)
    assert [optimizer.param_groups[0]["lr"] for optimizer in optimizers] == [2.5e-4, 5e-4]


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"max_grad_norm": -1.0}, {"final": 2.0}, {"warmup": -1}, {"decay": 0.0}]
)
def test_config_names_the_wrong_value(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OptimizerConfig(**wrong)  # type: ignore[arg-type]
