"""Encoders by name, and what is said of names that are none."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from evatok.pretrained.efficientnet import EfficientNetLite
from evatok.pretrained.encoders import EncoderConfig, load_encoder


@pytest.mark.parametrize(("side", "grid"), [(None, (4, 8, 8)), (64, (4, 4, 4))])
def test_efficientnet_by_name(side: int | None, grid: tuple[int, int, int]) -> None:
    encoder = load_encoder(EncoderConfig(side=side, every=2))
    assert isinstance(encoder, EfficientNetLite)
    assert encoder.grid(5, 8) == grid


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "i3d"}, "name must be no network that results are measured by, got 'i3d'"),
        ({"name": "I3D"}, "name must be no network that results are measured by, got 'I3D'"),
        ({"side": 31}, "side must be at least 32, got 31"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"name": "some/folder", "every": 2}, "every must be 1 for any encoder but efficientnet-lite0, got 2"),
    ],
)
def test_configs_that_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**wrong)


@pytest.mark.parametrize("config", [None, "", "{", "[1]", "{}", '{"model_type": "no such model"}'])
def test_folders_without_a_model(tmp_path: Path, config: str | None) -> None:
    pytest.importorskip("transformers")
    folder = tmp_path / "model"
    if config is not None:
        folder.mkdir()
        (folder / "config.json").write_text(config)
    with pytest.raises(ValueError, match=r"model: no VideoMAE or V-JEPA 2 can be read from there \(.") as raised:
        load_encoder(EncoderConfig(str(folder)))
    assert len(str(raised.value).splitlines()) == 1


def test_models_of_another_kind(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ValueError, match=r"model_type must be among \['videomae', 'vjepa2'\], got 'vit'"):
        load_encoder(EncoderConfig(str(tmp_path)))


def test_without_transformers_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "evatok.pretrained.transformers_video", raising=False)
    with pytest.raises(ValueError, match=r"'some/model' .* needs transformers: pip install 'evatok\[encoders\]'"):
        load_encoder(EncoderConfig("some/model"))
