"""VideoMAE and V-JEPA 2: what they give is what the library's own forward pass gives."""

from typing import Any

import pytest
import torch
from torch import Tensor

from evatok.pretrained.encoders import EncoderConfig, load_encoder

transformers = pytest.importorskip("transformers")

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def model_of(kind: str, **changes: Any) -> Any:
    """A small model with random weights."""
    sizes: dict[str, Any] = dict(hidden_size=24, num_attention_heads=2, num_hidden_layers=3, patch_size=16)
    own: dict[str, Any]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "videomae":
            own = dict[str, Any](image_size=32, num_frames=8, intermediate_size=32)
            return transformers.VideoMAEModel(transformers.VideoMAEConfig(**(sizes | own | changes))).eval()
        own = dict(crop_size=32, frames_per_clip=8, mlp_ratio=2.0, pred_hidden_size=24, pred_num_attention_heads=2)
        own |= dict(pred_num_hidden_layers=1)
        return transformers.VJEPA2Model(transformers.VJEPA2Config(**(sizes | own | changes))).eval()


@pytest.fixture(scope="module", params=["videomae", "vjepa2"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """A model, and the folder that it is saved in."""
    model, folder = model_of(request.param), tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    return model, str(folder)


def clips(frames: int = 8, side: int = 32) -> Tensor:
    return torch.rand(2, frames, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def states(model: Any, video: Tensor) -> list[Tensor]:
    """Hidden states after each layer, as the library gives them for frames in [-1, 1] that have the model's size."""
    options = {} if model.config.model_type == "videomae" else {"skip_predictor": True}
    with torch.no_grad():
        found = model((video / 2 + 0.5 - MEAN) / DEVIATION, output_hidden_states=True, **options)
    return [*found.hidden_states[1:-1], found.last_hidden_state]


def test_features_are_the_hidden_states(saved: tuple[Any, str]) -> None:
    model, folder = saved
    encoder, video = load_encoder(EncoderConfig(folder)), clips()
    assert encoder.widths == (24, 24, 24)
    found, expected = encoder.features(video, [1, 3]), states(model, video)
    for features, state in zip(found, (expected[0], expected[2]), strict=True):
        assert features.shape == (2, *encoder.grid(1, 8), 24) == (2, 4, 2, 2, 24)
        torch.testing.assert_close(features.flatten(1, 3), state, rtol=1e-5, atol=1e-6)
