"""Models in folders: old configs, the identity of weights, where and as what they are loaded."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evatok.nn.transformer import TransformerConfig
from evatok.tokenizer.config import FSQConfig, QuantizerConfig, SketchConfig, TokenizerConfig
from evatok.utils.saving import CheckpointError, Kind, SavedModel

# `config.json` of the first tokenizer that shipped, before entries said their class.
SHIPPED = """{
  "kind": "evatok.VideoTokenizer",
  "format": 1,
  "config": {
    "levels": [8, 16, 32, 64, 128],
    "blocks": 4,
    "patch": [4, 8, 8],
    "side": 64,
    "encoder": {"width": 128, "depth": 1, "heads": 4, "mlp_ratio": 4},
    "decoder": {"width": 128, "depth": 4, "heads": 4, "mlp_ratio": 4},
    "quantizer": {
      "codes": 1024, "dim": 8, "commitment": 0.25, "entropy": 0.02, "temperature": 0.07, "unit": false
    },
    "default_assignment": [64, 32, 32, 32],
    "sketch": {"carry": true}
  }
}
"""


@dataclass(frozen=True)
class NewerQuantizer(QuantizerConfig):
    """With a field that no old file has."""

    groups: int = 3


@dataclass(frozen=True)
class NewerConfig(TokenizerConfig):
    """With fields that no old file has."""

    quantizer: NewerQuantizer | FSQConfig = field(default_factory=NewerQuantizer)
    bridges: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class ToyConfig:
    width: int = 4


class Toy(SavedModel[ToyConfig]):
    KIND = Kind("toy", "evatok.Toy", ToyConfig)

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.linear(x)
        return output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a toy is saved."""
    Toy(ToyConfig()).save_pretrained(tmp_path / "toy")
    return tmp_path / "toy"


def learn(toy: Toy) -> None:
    """One step of training."""
    optimizer = torch.optim.SGD(toy.parameters(), lr=0.1)
    toy(torch.ones(4)).sum().backward()
    optimizer.step()


def test_the_config_of_an_old_shipped_model_is_read_after_new_fields_came(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(SHIPPED)
    config = Kind("tokenizer", "evatok.VideoTokenizer", NewerConfig).read_config(tmp_path)
    assert config == NewerConfig(
        encoder=TransformerConfig(128, 1, 4),
        decoder=TransformerConfig(128, 4, 4),
        quantizer=NewerQuantizer(unit=False, groups=3),
        sketch=SketchConfig(),
        bridges=(1, 2),
    )
    present = Kind("tokenizer", "evatok.VideoTokenizer", TokenizerConfig).read_config(tmp_path)
    assert present.quantizer == QuantizerConfig(unit=False) and present.levels == (8, 16, 32, 64, 128)


def test_an_unknown_entry_is_named_with_those_that_there_are(folder: Path) -> None:
    entries = json.loads((folder / "config.json").read_text())
    entries["config"]["witdh"] = 3
    (folder / "config.json").write_text(json.dumps(entries))
    with pytest.raises(CheckpointError, match="ToyConfig does not know witdh; it has width"):
        Toy.from_pretrained(folder)


def test_the_checksum_stays_through_dtypes_devices_and_copies(folder: Path) -> None:
    toy = Toy.from_pretrained(folder)
    before = toy.checksum
    assert len(before) == 16 and int(before, 16)
    for move in (Toy.bfloat16, copy.deepcopy, Toy.double, Toy.eval, lambda toy: toy.to("meta")):
        toy = move(toy)
        assert toy.checksum == before
    untold = Toy(ToyConfig()).eval()
    assert untold.checksum == untold.half().checksum != before


def test_the_checksum_of_a_folder_does_not_depend_on_how_it_is_loaded(folder: Path) -> None:
    before = Toy.from_pretrained(folder).checksum
    assert Toy.from_pretrained(folder, dtype=torch.bfloat16).checksum == before
    assert Toy.from_pretrained(folder, device="meta").checksum == before
    with torch.inference_mode():
        toy = Toy.from_pretrained(folder)
        assert toy.checksum == before and toy.half().checksum == before
        toy.load_state_dict(Toy(ToyConfig()).state_dict(), assign=True)
        assert toy.checksum != before


@pytest.mark.parametrize("assign", [False, True])
def test_the_checksum_follows_what_is_loaded(assign: bool, folder: Path) -> None:
    toy, other = Toy.from_pretrained(folder), Toy(ToyConfig())
    before, weights = toy.checksum, copy.deepcopy(toy.state_dict())
    toy.load_state_dict(other.state_dict(), assign=assign)
    assert toy.checksum == other.checksum != before
    nn.ModuleList([toy]).load_state_dict({f"0.{name}": weight for name, weight in weights.items()}, assign=assign)
    assert toy.checksum == before


def test_the_checksum_follows_training(folder: Path) -> None:
    toy = Toy.from_pretrained(folder)
    seen = [toy.checksum]
    toy.train()
    assert toy.checksum == seen[0]
    for _ in range(2):
        learn(toy)
        seen.append(toy.checksum)
    toy.save_pretrained(folder)
    learn(toy)
    seen.append(toy.eval().checksum)
    assert len(set(seen)) == 4 and Toy.from_pretrained(folder).checksum == seen[2]


def test_the_checksum_follows_any_change_when_it_is_saved(folder: Path) -> None:
    toy = Toy.from_pretrained(folder)
    before = toy.checksum
    learn(toy)  # in evaluation mode
    toy.save_pretrained(folder)
    assert toy.checksum == Toy.from_pretrained(folder).checksum != before
    toy.bfloat16().save_pretrained(folder)
    assert toy.checksum == Toy.from_pretrained(folder).checksum
    # A coarser file holds other weights; the model goes on with its own.
    fine = Toy(ToyConfig()).eval()
    before = fine.checksum
    fine.save_pretrained(folder, torch.float16)
    assert fine.checksum == before != Toy.from_pretrained(folder).checksum


def test_it_is_loaded_as_and_where_one_wants(folder: Path) -> None:
    plain = Toy.from_pretrained(folder)
    assert (plain.dtype, plain.device, plain.training, plain.name) == (torch.float32, torch.device("cpu"), False, "toy")
    half = Toy.from_pretrained(folder, dtype=torch.float16)
    assert half.dtype == half.linear.weight.dtype == torch.float16
    assert torch.equal(half.linear.weight, plain.linear.weight.half())
    assert Toy.from_pretrained(folder, device="meta").device == torch.device("meta")
    inside = Toy.from_pretrained(folder.parent, subfolder="toy")
    assert inside.name == "toy" and torch.equal(inside.linear.weight, plain.linear.weight)
    with pytest.raises(CheckpointError, match=r"there/config\.json cannot be read"):
        Toy.from_pretrained(folder, subfolder="there")
    with pytest.raises(CheckpointError, match=r"evatok-tiny-proxy/there is no folder and no shipped toy"):
        Toy.from_pretrained("evatok-tiny-proxy", subfolder="there")
