"""VideoMAE and V-JEPA 2, frozen, as the library transformers has them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evatok.pretrained.video_encoder import IMAGENET, VideoEncoder

try:
    import transformers
except ImportError as error:
    raise ImportError(f"VideoMAE and V-JEPA 2 need transformers: pip install 'evatok[encoders]' ({error})") from error


class TransformersEncoder(VideoEncoder):
    """A video transformer whose layers are all on one grid of tubelets.

    Layer n is what comes out of the n-th layer; the last is what the model gives, after its final norm if it has one.
    """

    config: Any
    model: Any

    def __init__(self, model: nn.Module, side: int) -> None:
        config: Any = model.config
        depth = config.num_hidden_layers
        quarters = sorted({max(depth * quarter // 4, 1) for quarter in range(1, 5)})
        super().__init__([config.hidden_size] * depth, quarters, side, IMAGENET)
        self.config, self.model = config, model
        self.requires_grad_(False).eval()

    def grid(self, layer: int, frames: int) -> tuple[int, int, int]:
        """Size `(t, h, w)` of a layer's features of a clip of so many frames."""
        side = self.side // self.config.patch_size
        return len(self._chosen(frames)) // self.config.tubelet_size, side, side

    def _features(self, pictures: Tensor, layers: Sequence[int]) -> list[Tensor]:
        given = self._run(pictures)
        states = [*given.hidden_states[:-1], given.last_hidden_state]
        grid = self.grid(1, pictures.shape[1])
        return [states[layer].unflatten(1, grid) for layer in layers]

    def _run(self, pictures: Tensor) -> Any:
        return self.model(pictures, output_hidden_states=True)


class VideoMAE(TransformersEncoder):
    """Has positions for one number of frames only: so many are taken, evenly spread, repeated where there are fewer."""

    def _chosen(self, frames: int) -> list[int]:
        wanted = self.config.num_frames
        return [(2 * number + 1) * frames // (2 * wanted) for number in range(wanted)]


class VJEPA2(TransformersEncoder):
    """Takes any number of frames; the last one is repeated until tubelets are full."""

    def _chosen(self, frames: int) -> list[int]:
        tubelet = self.config.tubelet_size
        return [*range(frames), *[frames - 1] * (-frames % tubelet)]

    def _run(self, pictures: Tensor) -> Any:
        return self.model(pictures, skip_predictor=True, output_hidden_states=True)


def load_transformer(name: str, side: int | None) -> TransformersEncoder:
    """The VideoMAE or V-JEPA 2 of a folder or a hub's repository, seeing frames at `side` or at its own size.

    Raises:
        ValueError: there is none, it is another model, or it cannot see frames of that size.
    """
    try:
        config = transformers.AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"{name}: no model of transformers ({str(error).splitlines()[0]:.200})") from error
    kinds = {"videomae": (VideoMAE, "image_size"), "vjepa2": (VJEPA2, "crop_size")}
    if config.model_type not in kinds:
        raise ValueError(f"{name}: model_type must be among {sorted(kinds)}, got {config.model_type!r}")
    kind, key = kinds[config.model_type]
    side = _checked_side(name, config, key, side)
    # Positions of V-JEPA 2 are rotary, and follow the size.
    config.update({key: side})
    loaded = transformers.AutoModel.from_pretrained(name, config=config, dtype=torch.float32, use_safetensors=True)
    return kind(loaded, side)


def _checked_side(name: str, config: Any, key: str, side: int | None) -> int:
    own: int = getattr(config, key)
    if side is None or side == own:
        return own
    if config.model_type == "videomae":
        raise ValueError(f"side must be the {own} of {name} or left out, got {side}")
    if side % config.patch_size:
        raise ValueError(f"side must be a multiple of the {config.patch_size} of {name}'s patches, got {side}")
    return side
