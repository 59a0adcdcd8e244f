"""VideoMAE and V-JEPA 2, frozen, as the library transformers has them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from evatok.pretrained.video_encoder import IMAGENET, VideoEncoder


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


_KINDS: dict[str, tuple[type[TransformersEncoder], str]] = {
    "videomae": (VideoMAE, "image_size"),
    "vjepa2": (VJEPA2, "crop_size"),
}


def load_transformer(name: str, side: int | None) -> TransformersEncoder:
    """The VideoMAE or V-JEPA 2 of a folder or a hub's repository, seeing frames at `side` or at its own size.

    Raises:
        ValueError: there is none, it is another model or not whole, or it cannot see frames of that size.
    """
    config: Any = _told(name, transformers.AutoConfig.from_pretrained)
    if config.model_type not in _KINDS:
        raise ValueError(f"{name}: model_type must be among {sorted(_KINDS)}, got {config.model_type!r}")
    kind, key = _KINDS[config.model_type]
    for size in (key, "patch_size"):
        if not isinstance(getattr(config, size), int):
            raise ValueError(f"{name}: {size} must be one number, got {getattr(config, size)}")
    side = _checked_side(name, config, getattr(config, key), side)
    # Positions of V-JEPA 2 are rotary, and follow the size.
    config.update({key: side})
    options = {"config": config, "dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
    options["ignore_mismatched_sizes"] = True  # they would be told of in a report of many lines; below it is one
    model, found = _told(name, transformers.AutoModel.from_pretrained, **options)
    lacking = sorted([*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])])
    if lacking:
        raise ValueError(f"{name}: {len(lacking)} weights are missing or of another shape, such as {lacking[0]}")
    return kind(model, side)


def _told(name: str, read: Callable[..., Any], **options: Any) -> Any:
    """What transformers reads; whatever is wrong with it is told in one sentence, and nothing else is."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        return read(name, trust_remote_code=False, **options)
    except Exception as error:  # of many kinds, those of other libraries among them
        said = " ".join(str(error).split())
        raise ValueError(f"{name}: no VideoMAE or V-JEPA 2 can be read from there ({said:.200})") from error
    finally:
        transformers.logging.set_verbosity(verbosity)


def _checked_side(name: str, config: Any, own: int, side: int | None) -> int:
    if side is None or side == own:
        return own
    if config.model_type == "videomae":
        raise ValueError(f"side must be the {own} of {name} or left out, got {side}")
    if side % config.patch_size:
        raise ValueError(f"side must be a multiple of the {config.patch_size} of {name}'s patches, got {side}")
    return side
