"""Finite scalar quantization against an independent implementation, and a tokenizer that uses it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from vector_quantize_pytorch import FSQ

from evatok.nn.packed import Layout
from evatok.tokenizer.config import FSQConfig
from evatok.tokenizer.finite_scalar import FiniteScalarQuantizer
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.saving import CheckpointError
from tests.conftest import MINI


@pytest.mark.parametrize("counts", [(8, 8, 8, 6, 5), (3,), (5, 4, 7)])
def test_equals_an_independent_implementation_with_gradients(counts: tuple[int, ...]) -> None:
    ours, theirs = FiniteScalarQuantizer(FSQConfig(counts)), FSQ(list(counts))
    generator = torch.Generator().manual_seed(0)
    features = (2 * torch.randn(1000, len(counts), generator=generator)).requires_grad_()
    quantized = ours(features)
    values, ids = theirs(features[None])
    assert torch.equal(quantized.ids, ids[0].long())
    torch.testing.assert_close(quantized.values, values[0])
    towards = torch.randn(values[0].shape, generator=generator)
    found = torch.autograd.grad((quantized.values * towards).sum(), features)[0]
    wanted = torch.autograd.grad((values[0] * towards).sum(), features)[0]
    torch.testing.assert_close(found, wanted)
    every = torch.arange(math.prod(counts))
    torch.testing.assert_close(ours.look_up(every), theirs.indices_to_codes(every))


def test_every_code_is_reached_and_keeps_its_number() -> None:
    quantizer = FiniteScalarQuantizer(FSQConfig((4, 3)))
    grid = torch.cartesian_prod(torch.linspace(-4, 4, 81), torch.linspace(-4, 4, 81))
    quantized = quantizer(grid)
    assert quantized.ids.unique().tolist() == list(range(12))
    assert quantizer.look_up(torch.tensor([0, 1, 4, 11])).tolist() == [[-1, -1], [-0.5, -1], [-1, 0], [0.5, 1]]
    torch.testing.assert_close(quantized.values, quantizer.look_up(quantized.ids))
    # Half a step: the most that rounding moves a channel, of 2 steps to a side and of 1.
    assert ((quantized.values - quantized.features).abs() <= torch.tensor([0.25, 0.5]) + 1e-6).all()


def test_computes_in_float32_under_autocast_and_has_nothing_to_learn() -> None:
    quantizer = FiniteScalarQuantizer(FSQConfig((8, 5)))
    with torch.autocast("cpu", torch.bfloat16):
        quantized = quantizer(torch.tensor([[1.0, 0.001]], dtype=torch.bfloat16))
    assert quantized.values.dtype == quantized.features.dtype == torch.float32
    assert (
        quantizer.losses(quantized, Layout(((len(quantized.ids),),))) == {}
        and quantizer.state_dict() == {}
        and not list(quantizer.parameters())
    )


def test_a_tokenizer_with_it_is_saved_and_loaded(tmp_path: Path) -> None:
    config = replace(MINI, quantizer=FSQConfig((5, 4, 3)))
    model = VideoTokenizer(config).eval()
    video = torch.randint(0, 256, (3, 10, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    tokens = model.encode(video)
    assert tokens.format.codebook_size == 60 and len(tokens.ids.unique()) > 1
    assert model.encode(video[1:2]) == tokens[1]
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())["config"]["quantizer"]
    assert written == {"type": "FSQConfig", "fsq": [5, 4, 3]}
    loaded = VideoTokenizer.from_pretrained(tmp_path)
    assert loaded.config == config and torch.equal(loaded.encode(video).ids, tokens.ids)
    assert torch.equal(loaded.decode(tokens), model.decode(tokens))


def test_a_saved_quantizer_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    VideoTokenizer(MINI).save_pretrained(tmp_path)
    entries = json.loads((tmp_path / "config.json").read_text())
    entries["config"]["quantizer"]["fsq"] = [5, 4, 3]
    (tmp_path / "config.json").write_text(json.dumps(entries))
    with pytest.raises(CheckpointError, match="QuantizerConfig does not know fsq; it has codebook_size"):
        VideoTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("wrong", [(), (8, 2)])
def test_config_names_the_wrong_value(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="fsq must be one or more numbers of at least 3"):
        FSQConfig(wrong)
