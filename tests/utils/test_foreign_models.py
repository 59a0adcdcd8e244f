"""Folders of models that somebody else made or damaged: one short sentence each, before anything is built."""

import json
import math
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from evatok.router.model import Router
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.saving import CONFIG, WEIGHTS, CheckpointError
from tests.conftest import SKETCHED, random_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tokenizer."""
    folder = tmp_path_factory.mktemp("saved")
    random_tokenizer(SKETCHED).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it, to be tampered with."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        VideoTokenizer.from_pretrained(folder)
    assert len(str(error.value)) <= 500
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("encoder.depth", 10**9, "depth must be at most 128, got 1000000000"),
        ("encoder.width", 10**9, "width must be at most 8192"),
        ("encoder.mlp_ratio", 2**63, "mlp_ratio must be at most 16"),
        ("encoder.mlp_ratio", 10**400, "mlp_ratio must be at most 16"),
        ("encoder.width", "128", "width must be int, got '128'"),
        ("encoder.width", 128.0, "width must be int, got 128.0"),
        ("encoder.width", True, "width must be int, got True"),
        ("encoder.width", None, "width must be int, got None"),
        ("encoder", [1], r"TransformerConfig must be an object, got \[1\]"),
        ("encoder", None, "encoder must be TransformerConfig, got None"),
        ("quantizer", 3, "QuantizerConfig or FSQConfig must be an object, got 3"),
        ("quantizer.codebook_size", 2**40, "codebook_size must be at most 1048576"),
        ("quantizer.dim", 10**9, "dim must be at most 1024"),
        ("quantizer.unit", "yes", "unit must be bool, got 'yes'"),
        ("quantizer.temperature", math.nan, "it has the number NaN"),
        ("quantizer.commitment", math.inf, "it has the number Infinity"),
        ("quantizer", {"type": "FSQConfig", "fsq": [8] * 1000}, "at most 2.31 codes, got 1000 channels of up to 8"),
        ("quantizer", {"type": "FSQConfig", "fsq": [10**9] * 4}, "got 4 channels of up to 1000000000"),
        ("quantizer", {"type": "os.system"}, "type must be QuantizerConfig or FSQConfig, got 'os.system'"),
        ("side", 10**9, "side must be at most 4096"),
        ("patch", [4, 10**9, 8], "patch must have at most 65536 pixels"),
        ("patch", [4, "8", 8], "patch must be int, got '8'"),
        ("blocks", 10**9, "at most 256 levels and 256 blocks, got 2 levels and 1000000000 blocks"),
        ("blocks", 21, "at most 1048576 assignments of all blocks, got 2 to 8 for 21 blocks"),
        ("levels", list(range(1, 1000)), "at most 256 levels and 256 blocks, got 999 levels"),
        ("levels", [8, 10**30], "levels are at most 65536"),
        ("default_assignment", [8] * 10**5, "default_assignment must be 4 of the levels"),
        ("sketch.passes", [1] * 10**5, "passes must be at most 16"),
        ("sketch.passes", [1, 10**30], "passes must be at most 16, of up to 65536 shares"),
        ("sketch", 3, "SketchConfig must be an object, got 3"),
    ],
)
def test_numbers_and_kinds_that_no_model_has(folder: Path, key: str, value: Any, said: str) -> None:
    entries = json.loads((folder / CONFIG).read_text())
    *sections, last = ["config", *key.split(".")]
    inner = entries
    for section in sections:
        inner = inner[section]
    inner[last] = value
    (folder / CONFIG).write_text(json.dumps(entries))
    with pytest.raises(CheckpointError, match=said):
        VideoTokenizer.from_pretrained(folder)
    refused(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[" * 100_000, "cannot be read: maximum recursion depth exceeded"),
        (b'{"a":' * 100_000, "cannot be read: maximum recursion depth exceeded"),
        (b" " * (2**20 + 1), "it has 1048577 bytes; a config may have 1048576"),
        (b'{"kind": "\xe9"}', "cannot be read: 'utf-8' codec"),
        (b'{"kind": ' + b"9" * 10_000 + b"}", "4300 digits"),
        (b'{"kind": 1e999}', "it has the number 1e999"),
        (b'{"kind": "' + b"k" * 10_000 + b'"}', "is no tokenizer's config: its kind is 'kkk"),
        (b'{"kind": "evatok.VideoTokenizer", "format": "' + b"1" * 10_000 + b'"}', "has format 111"),
        (b"null", "its kind is None"),
        (b"", "cannot be read: Expecting value"),
    ],
)
def test_configs_that_are_none(folder: Path, text: bytes, said: str) -> None:
    (folder / CONFIG).write_bytes(text)
    assert said in refused(folder)


def test_many_unknown_names_are_a_short_sentence(folder: Path) -> None:
    entries = json.loads((folder / CONFIG).read_text())
    entries["config"] |= {f"key{number}": 1 for number in range(10_000)}
    (folder / CONFIG).write_text(json.dumps(entries))
    assert "TokenizerConfig does not know key0, key1, key10" in refused(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"blocks": 40}, "at most 1048576 assignments"),
        ({"head": "x"}, "head must be 'classification' or 'regression' or 'prefix_regression', got 'x'"),
        ({"calibration": {"reward": None}}, "reward must be ProxyReward, got None"),
        ({"calibration": {"reward": {"lpips_mean": "x"}}}, "lpips_mean must be float, got 'x'"),
    ],
)
def test_routers_of_others(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    entries = {"kind": "evatok.Router", "format": 1, "config": change}
    (tmp_path / CONFIG).write_text(json.dumps(entries))
    with pytest.raises(CheckpointError, match=said):
        Router.from_pretrained(tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_named(value: float, folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["quantizer.codebook"][3, 1] = value
    save_file(weights, folder / WEIGHTS)
    assert refused(folder).endswith("has weights that are not finite: ['quantizer.codebook']")
    save_file({name: weight * value for name, weight in weights.items()}, folder / WEIGHTS)
    assert refused(folder).endswith(f"and {len(weights) - 3} more")


def test_weights_that_are_large_and_finite_are_loaded(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["quantizer.codebook"][:] = torch.finfo(torch.float32).max
    save_file(weights, folder / WEIGHTS)
    assert VideoTokenizer.from_pretrained(folder).state_dict()["quantizer.codebook"].isfinite().all()


def tensor(shape: list[int], end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"x": tensor([10**9, 10**3], 4 * 10**12)}, "cannot be read"),
        ({"x": tensor([10**6, 10**6], 4)}, "cannot be read"),
        ({"x": tensor([2**63, 2**63], 0)}, "cannot be read"),
        ({"x": tensor([1], 4), "y": tensor([1], 4)}, "cannot be read"),
        ({"x": tensor([-1], 4)}, "cannot be read"),
        ({"x": tensor([1], 4, "X")}, "cannot be read"),
        (
            {f"x{n}": tensor([0], 0) for n in range(999)} | {"y": tensor([1], 4)},
            "and 997 more, other shapes",
        ),
        ({"x" * 10_000: tensor([1], 4)}, "unknown ['xxx"),
        (b"[" * 100_000, "cannot be read"),
        (10**8, "its header has 100000000 bytes, not at most 4194304"),
        (2**63, "its header has 9223372036854775808 bytes"),
    ],
)
def test_headers_of_weights_that_lie(header: Any, said: str, folder: Path) -> None:
    text = b"" if isinstance(header, int) else header if isinstance(header, bytes) else json.dumps(header).encode()
    size = header if isinstance(header, int) else len(text)
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", size) + text + bytes(4))
    assert said in refused(folder)


def test_weights_that_are_no_floating_point_numbers(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["quantizer.codebook"] = weights["quantizer.codebook"].to(torch.int32)
    save_file(weights, folder / WEIGHTS)
    assert "no floating-point numbers: ['quantizer.codebook']" in refused(folder)
