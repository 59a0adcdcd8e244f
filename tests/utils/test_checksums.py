"""The checksum of a model follows its weights, however they change, and stays where only their form does."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.utils.test_saving import Toy, ToyConfig

CHANGES: dict[str, Callable[[Toy], object]] = {
    "data.copy_": lambda toy: [weight.data.copy_(weight.data * 1.5) for weight in toy.parameters()],
    "data.mul_": lambda toy: toy.linear.bias.data.mul_(-1),
    "data =": lambda toy: setattr(toy.linear.weight, "data", toy.linear.weight.data * 1.5),
    "one number": lambda toy: toy.linear.weight.data[2, 1].add_(1e-6),
    "one sign": lambda toy: toy.linear.weight.data[2, 1].neg_(),
    "signs of a column": lambda toy: toy.linear.weight.data[:, 1].neg_(),
    "all signs": lambda toy: toy.linear.weight.data.neg_(),
    "rows in another order": lambda toy: toy.linear.weight.data.copy_(toy.linear.weight.data.flip(0).clone()),
    "load_state_dict": lambda toy: toy.load_state_dict(Toy(toy.config).state_dict()),
    "assigned": lambda toy: toy.load_state_dict(Toy(toy.config).state_dict(), assign=True),
    "as a vector": lambda toy: nn.utils.vector_to_parameters(
        nn.utils.parameters_to_vector(toy.parameters()) * 2, toy.parameters()
    ),
    "a new parameter": lambda toy: setattr(toy.linear, "weight", nn.Parameter(toy.linear.weight.detach() * 2)),
    "a new layer": lambda toy: setattr(toy, "linear", nn.Linear(toy.config.width, toy.config.width)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(("width", "inference"), [(4, False), (301, False), (260, True)])
def test_it_follows_every_change(change: Callable[[Toy], object], width: int, inference: bool, tmp_path: Path) -> None:
    config = ToyConfig(width)
    Toy(config).save_pretrained(tmp_path)
    with torch.inference_mode(inference):
        toy = Toy.from_pretrained(tmp_path)
        before = toy.checksum
        change(toy)
        fresh = Toy(config).eval()
        fresh.load_state_dict(toy.state_dict())
        assert toy.checksum == fresh.checksum != before
        after = toy.checksum
        assert copy.deepcopy(toy).checksum == toy.half().checksum == after


def test_it_is_the_loaded_ones_in_any_dtype_until_weights_change(tmp_path: Path) -> None:
    Toy(ToyConfig()).save_pretrained(tmp_path)
    toy, half = Toy.from_pretrained(tmp_path), Toy.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.checksum == toy.checksum == toy.bfloat16().checksum == toy.double().checksum
    half.linear.bias.data.add_(1)
    assert half.checksum != toy.checksum
    changed = half.checksum
    assert half.float().checksum == changed
    # A change that nobody asked about before the dtype changed.
    half.linear.bias.data.add_(1)
    assert half.bfloat16().checksum not in (changed, toy.checksum)
