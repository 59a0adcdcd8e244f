"""How a video of any size is brought to a size that the model takes, and back."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

Mode = Literal["keep", "crop", "letterbox", "none"]
Size = tuple[int, int]
Box = tuple[int, int, int, int]

_BAR = -1.0
# Resized together: memory does not grow with a clip, and few large frames are quicker than many.
_PIXELS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Fit:
    """A record of how a source picture becomes the model's, and what is needed to undo it.

    Args:
        mode: `keep` the aspect ratio as nearly as the patch allows, `crop` the central square, `letterbox`
            into a square with black bars, or `none`: nothing is changed.
        source: (height, width) of the source.
        size: (height, width) that the model sees.
        box: (top, left, height, width) in the source of the part that is used.
        inner: (top, left, height, width) in `size` of the picture; bars fill the rest.
        pixel_aspect: width to height of a source pixel as it is shown, as two whole numbers; nearly always (1, 1).

    ValueError: a box that does not lie inside its picture, or an unknown mode.
    """

    mode: Mode
    source: Size
    size: Size
    box: Box
    inner: Box
    pixel_aspect: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode: got {self.mode!r}; it may be one of {', '.join(get_args(Mode))}")
        for name, length in (("source", 2), ("size", 2), ("box", 4), ("inner", 4), ("pixel_aspect", 2)):
            value = tuple(getattr(self, name))
            if len(value) != length or any(type(number) is not int for number in value):
                raise ValueError(f"{name}: got {value}; it is {length} whole numbers")
            object.__setattr__(self, name, value)
        if not all(0 < number < 2**31 for number in self.pixel_aspect):
            raise ValueError(f"pixel_aspect: got {self.pixel_aspect}; both numbers are 1 to 2^31 - 1")
        for name, box, whole in (("box", self.box, self.source), ("inner", self.inner, self.size)):
            top, left, height, width = box
            if min(top, left) < 0 or min(height, width) < 1 or top + height > whole[0] or left + width > whole[1]:
                raise ValueError(f"{name}: got {box}; it must lie inside a picture of {whole}")

    @property
    def output_size(self) -> Size:
        """(height, width) of what `undo` returns: the source's, or the part of it that was used."""
        return self.box[2], self.box[3]

    def apply(self, frames: Tensor) -> Tensor:
        """Bring source frames to the model's size.

        Args:
            frames: (..., 3, H, W) of the source's size: uint8, or floats in [-1, 1].

        Returns:
            (..., 3, h, w) float32 in [-1, 1]. A frame's result does not depend on the frames beside it.

        Raises ValueError for another size or floats out of range, TypeError for other dtypes.
        """
        self._check_size(frames, self.source)
        size = self.inner[2:]
        pictures = _in_parts(lambda part: _signed(crop(part, self.box), size), frames)
        if size == self.size:
            return pictures
        whole = pictures.new_full((*pictures.shape[:-2], *self.size), _BAR)
        crop(whole, self.inner).copy_(pictures)
        return whole

    def undo(self, frames: Tensor) -> Tensor:
        """Bring the model's frames back to `output_size`.

        Args:
            frames: (..., 3, h, w) of the model's size: uint8, or floats in [-1, 1].

        Returns:
            (..., 3, H, W) uint8, rounded to the nearest.

        Raises ValueError for another size or floats out of range, TypeError for other dtypes.
        """
        self._check_size(frames, self.size)
        return _in_parts(
            lambda part: to_bytes(resize(to_signed(crop(part, self.inner)), self.output_size)),
            frames,
            max(1, _PIXELS_AT_ONCE // math.prod(self.output_size)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as JSON can hold it; square pixels are not mentioned."""
        entries = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        if self.pixel_aspect == (1, 1):
            del entries["pixel_aspect"]
        return entries

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make a fit from what `to_dict` gave; ValueError where it is something else."""
        needed = {"mode", "source", "size", "box", "inner"}
        if not needed <= set(values) <= needed | {"pixel_aspect"}:
            raise ValueError(f"fit: got the entries {sorted(values)!s:.200}; they are {sorted(needed)}")
        for name, value in values.items():
            if name != "mode" and not isinstance(value, list | tuple):
                raise ValueError(f"{name}: got {value!r:.80}; it is a list of whole numbers")
        return cls(values["mode"], **{name: tuple(value) for name, value in values.items() if name != "mode"})

    def _check_size(self, frames: Tensor, size: Size) -> None:
        if frames.ndim < 3 or tuple(frames.shape[-3:]) != (3, *size):
            raise ValueError(f"frames: got the shape {tuple(frames.shape)}; it ends in {(3, *size)}")


def plan_fit(source_size: Size, *, area: int, patch: Size, mode: Mode = "keep") -> Fit:
    """Choose the size at which the model sees a source.

    Args:
        source_size: (height, width) of the source.
        area: number of pixels of the frames that the model was trained on; its square root, rounded to the
            patch, is the side of the square that `crop` and `letterbox` make.
        patch: (height, width) of the model's patch; both sides that the model sees are multiples of it.
        mode: see Fit. For `keep`, the size (h, w) minimises
            `|log of the change of aspect ratio| + |log(h w / area)|`, and among equals the latter.

    Raises:
        ValueError: with mode `none`, a source whose sides are no multiples of the patch; arguments that make no sense.
    """
    height, width = source_size
    for name, value in (("source_size", source_size), ("patch", patch)):
        if min(value) < 1:
            raise ValueError(f"{name}: got {value}; height and width are at least 1")
    if area < 1:
        raise ValueError(f"area: got {area}; it is at least 1 pixel")
    source: Size = (int(height), int(width))
    whole: Box = (0, 0, *source)
    if mode == "keep":
        size = _nearest_size(source, area, patch)
        return Fit(mode, source, size, whole, (0, 0, *size))
    if mode == "none":
        if height % patch[0] or width % patch[1]:
            raise ValueError(
                f"size: got {height}x{width}; without fitting, the height may be a multiple of {patch[0]} "
                f"and the width of {patch[1]}"
            )
        return Fit(mode, source, source, whole, whole)
    unit = math.lcm(*patch)
    side = unit * max(1, round(math.sqrt(area) / unit))
    if mode == "crop":
        edge = min(source)
        return Fit(mode, source, (side, side), (*_centred((edge, edge), source), edge, edge), (0, 0, side, side))
    if mode == "letterbox":
        scale = side / max(source)
        inner = max(1, round(height * scale)), max(1, round(width * scale))
        return Fit(mode, source, (side, side), whole, (*_centred(inner, (side, side)), *inner))
    raise ValueError(f"mode: got {mode!r}; it may be one of {', '.join(get_args(Mode))}")


def crop(frames: Tensor, box: Box) -> Tensor:
    """The part `box` of frames `(..., H, W)`, a view."""
    top, left, height, width = box
    return frames[..., top : top + height, left : left + width]


def resize(frames: Tensor, size: Size) -> Tensor:
    """Bring frames to another size, by the one filter through which all that models see goes: bicubic, antialiased.

    Encoding, training, evaluation and routers use it, so that none of them sees pictures that another one does not.

    Args:
        frames: `(n, 3, H, W)` of any n: uint8, or floats in [-1, 1].
        size: (height, width).

    Returns:
        `(n, 3, *size)` of the same type and range; the frames themselves where they have the size already. uint8 is
        several times as quick, and rounded between rows and columns too: it is the floats' result to a grey level.
    """
    if frames.shape[-2:] == size:
        return frames
    resized = _filtered(frames, size)
    return resized.clamp_(-1, 1) if frames.is_floating_point() else resized


def fill_blocks(video: Tensor, block_frames: int) -> Tensor:
    """Repeats the last frame of clips `(B, F, 3, H, W)` until the last block of `block_frames` frames is full."""
    missing = -video.shape[1] % block_frames
    return torch.cat([video, video[:, -1:].expand(-1, missing, -1, -1, -1)], 1) if missing else video


def to_signed(frames: Tensor) -> Tensor:
    """Turn uint8 frames, or floats in [-1, 1], into new float32 in [-1, 1]: 0 becomes -1, 255 becomes 1.

    Raises TypeError for other dtypes, ValueError for floats out of range (NaN too).
    """
    if frames.dtype == torch.uint8:
        return frames.to(torch.float32).div_(127.5).sub_(1)
    if not frames.is_floating_point():
        raise TypeError(f"frames: got {frames.dtype}; they may be uint8, or floats in [-1, 1]")
    if frames.numel():
        low, high = (float(value) for value in torch.aminmax(frames))
        if not (low >= -1 and high <= 1):
            raise ValueError(f"frames: got values from {low:g} to {high:g}; floats lie in [-1, 1]")
    return frames.to(torch.float32, copy=True)


def to_bytes(frames: Tensor) -> Tensor:
    """Turn floats in [-1, 1] into uint8, rounded to the nearest: the reverse of `to_signed`."""
    return frames.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def _signed(frames: Tensor, size: Size) -> Tensor:
    """`resize` of frames in [-1, 1], to the bit, without the whole of a large one in float32.

    The filter works along rows first and then along columns, so rows may be narrowed some at a time.
    """
    count, _, height, width = frames.shape
    if count * height * width <= _PIXELS_AT_ONCE or width <= size[1]:
        return resize(to_signed(frames), size)
    some = frames.split(max(1, _PIXELS_AT_ONCE // (count * width)), dim=-2)
    narrow = torch.cat([_filtered(to_signed(rows), (rows.shape[-2], size[1])) for rows in some], dim=-2)
    return _filtered(narrow, size).clamp_(-1, 1)


def _filtered(frames: Tensor, size: Size) -> Tensor:
    return F.interpolate(frames, size, mode="bicubic", antialias=True, align_corners=False)


def _nearest_size(source: Size, area: int, patch: Size) -> Size:
    height, width = source
    tallest = max(patch[0], 2 * math.sqrt(area * height / width))
    candidates: set[Size] = set()
    for rows in range(1, math.ceil(tallest / patch[0]) + 1):
        # For a given height the error is convex in the logarithm of the width, and least between these two.
        for ideal in (rows * patch[0] * width / height, area / (rows * patch[0])):
            columns = math.floor(ideal / patch[1])
            candidates |= {(rows * patch[0], max(1, near) * patch[1]) for near in (columns, columns + 1)}

    def error(size: Size) -> tuple[float, float, Size]:
        aspect = abs(math.log(size[1] / size[0]) - math.log(width / height))
        change = abs(math.log(size[0] * size[1] / area))
        return round(aspect + change, 9), change, size

    return min(candidates, key=error)


def _centred(size: Size, whole: Size) -> Size:
    return (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2


def _in_parts(change: Callable[[Tensor], Tensor], frames: Tensor, at_once: int | None = None) -> Tensor:
    """Frames `(..., 3, H, W)` changed a few at a time: `at_once`, or so many as have about `_PIXELS_AT_ONCE`."""
    at_once = at_once or max(1, _PIXELS_AT_ONCE // math.prod(frames.shape[-2:]))
    made = torch.cat([change(part) for part in frames.reshape(-1, *frames.shape[-3:]).split(at_once)])
    return made.reshape(*frames.shape[:-3], *made.shape[-3:])
