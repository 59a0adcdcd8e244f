"""VideoMAE and V-JEPA 2: what they give is what the library's own forward pass gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file
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


def test_gradients_reach_the_video_and_no_weight(saved: tuple[Any, str]) -> None:
    encoder, video = load_encoder(EncoderConfig(saved[1])), clips().requires_grad_()
    encoder.features(video, [2])[0].square().sum().backward()
    assert video.grad is not None
    assert video.grad.abs().amax((2, 3, 4)).min() > 0
    assert not encoder.train().training
    assert not any(weight.requires_grad or weight.grad is not None for weight in encoder.parameters())


def test_features_are_float32_under_autocast(saved: tuple[Any, str]) -> None:
    encoder, video = load_encoder(EncoderConfig(saved[1])), clips()
    [exact] = encoder.features(video, [3])
    with torch.autocast("cpu", torch.bfloat16):
        [found] = encoder.features(video, [3])
    assert found.dtype == torch.float32
    assert 0 < (found - exact).norm() < 0.05 * exact.norm()


# Each kind's own way: frames that are seen of 3, 8 and 13.
SEEN = {
    "videomae": {3: [0, 0, 0, 1, 1, 2, 2, 2], 8: list(range(8)), 13: [0, 2, 4, 5, 7, 8, 10, 12]},
    "vjepa2": {3: [0, 1, 2, 2], 8: list(range(8)), 13: [*range(13), 12]},
}


@pytest.mark.parametrize("frames", [3, 8, 13])
def test_clips_of_other_numbers_of_frames(saved: tuple[Any, str], frames: int) -> None:
    model, folder = saved
    encoder, video = load_encoder(EncoderConfig(folder)), clips(frames)
    seen = SEEN[model.config.model_type][frames]
    [found] = encoder.features(video, [2])
    assert found.shape == (2, len(seen) // 2, 2, 2, 24)
    torch.testing.assert_close(found.flatten(1, 3), states(model, video[:, seen])[1], rtol=1e-5, atol=1e-6)


def test_frames_are_brought_to_the_model_s_size(saved: tuple[Any, str]) -> None:
    encoder = load_encoder(EncoderConfig(saved[1]))
    flat = torch.full((1, 8, 3, 20, 50), 0.3)
    square = torch.full((1, 8, 3, 32, 32), 0.3)
    torch.testing.assert_close(encoder.features(flat, [3]), encoder.features(square, [3]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [48, 40])
def test_other_sides(saved: tuple[Any, str], side: int) -> None:
    model, folder = saved
    config = EncoderConfig(folder, side=side)
    if model.config.model_type == "videomae":
        with pytest.raises(ValueError, match=f"side must be the 32 of .*, got {side}"):
            load_encoder(config)
    elif side % 16:
        with pytest.raises(ValueError, match=f"side must be a multiple of the 16 of .* patches, got {side}"):
            load_encoder(config)
    else:
        own = model_of("vjepa2", crop_size=side)
        video = clips(side=side)
        assert load_encoder(config).grid(1, 8) == (4, 3, 3)
        [found] = load_encoder(config).features(video, [3])
        torch.testing.assert_close(found.flatten(1, 3), states(own, video)[2], rtol=1e-5, atol=1e-6)


def test_a_pretraining_checkpoint_gives_its_encoder(tmp_path: Path) -> None:
    config = model_of("videomae").config
    config.update(dict(decoder_hidden_size=24, decoder_num_attention_heads=2, decoder_num_hidden_layers=1))
    whole = transformers.VideoMAEForPreTraining(config)
    whole.save_pretrained(tmp_path)
    [found] = load_encoder(EncoderConfig(str(tmp_path))).features(clips(), [3])
    expected = states(whole.videomae.eval(), clips())[2]
    torch.testing.assert_close(found.flatten(1, 3), expected, rtol=1e-5, atol=1e-6)


KEY = "encoder.layer.1.layernorm_before.weight"


def change(file: Path, new: Tensor | None) -> None:
    """Puts another tensor, or none, in the place of one."""
    tensors = load(file.read_bytes())
    del tensors[KEY]
    save_file(tensors if new is None else tensors | {KEY: new}, file)


def pickle(file: Path) -> None:
    """Leaves the weights as a pickle only."""
    torch.save(load(file.read_bytes()), file.with_name("pytorch_model.bin"))
    file.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), "no file named model.safetensors"),
        (lambda file: file.write_bytes(file.read_bytes()[:-500]), "can be read from there"),
        (lambda file: change(file, None), f"1 weights are missing .* such as {KEY}"),
        (lambda file: change(file, torch.zeros(5)), f"1 weights .* another shape, such as {KEY}"),
        (pickle, "no file named model.safetensors"),
    ],
)
def test_weights_that_are_not_whole(tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    model_of("videomae").save_pretrained(tmp_path)
    damage(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message) as raised:
        load_encoder(EncoderConfig(str(tmp_path)))
    assert str(raised.value).startswith(str(tmp_path))
    assert len(str(raised.value).splitlines()) == 1


def test_pictures_of_two_sizes_are_refused(tmp_path: Path) -> None:
    model_of("videomae", image_size=[32, 48]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"image_size must be one number, got \[32, 48\]"):
        load_encoder(EncoderConfig(str(tmp_path)))
