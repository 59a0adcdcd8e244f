"""Alignment: a layer of the decoder is to know what a frozen teacher sees in the clip (paper, section 3)."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evatok.nn.positions import like, resizing_matrix
from evatok.pretrained.encoders import EncoderConfig
from evatok.pretrained.video_encoder import VideoEncoder
from evatok.tokenizer.config import TokenizerConfig
from evatok.utils.configs import check_between, check_least


@dataclass(frozen=True)
class AlignmentConfig:
    """A teacher, and which layers are brought together.

    Args:
        teacher: the frozen network; the paper's is a V-JEPA 2 ViT-L.
        teacher_layer: layer of the teacher, from 1 on; None: the last that is as fine as the decoder's grid, or
            the last of all.
        layer: layer of the decoder, from 1 on; None: the middle one, rounded down.
        weight: of the loss.
        hidden: channels of the head's MLP.
    """

    teacher: EncoderConfig = field(default_factory=EncoderConfig)
    teacher_layer: int | None = None
    layer: int | None = None
    weight: float = 0.7
    hidden: int = 512

    def __post_init__(self) -> None:
        check_least(self, 0, "weight")
        check_least(self, 1, "teacher_layer", "layer")
        check_between(self, 1, 8192, "hidden")


class AlignmentHead(nn.Module):
    """The decoder's features brought to the teacher's width and grid; it is trained with the tokenizer.

    Every patch of the decoder becomes as many of the teacher's as fit into it in full clips of the trained size. Where
    the grids are no multiples, or the clip is another, what comes out is resized to the teacher's grid.

    Args:
        config: layers, weight and size.
        model: the tokenizer's.
        teacher: what `load_encoder(config.teacher)` gives; it is not kept.
    """

    def __init__(self, config: AlignmentConfig, model: TokenizerConfig, teacher: VideoEncoder) -> None:
        super().__init__()
        self.weight = config.weight
        self.layer = config.layer or max(model.decoder.depth // 2, 1)
        if self.layer > model.decoder.depth:
            raise ValueError(f"layer must be among the decoder's 1 to {model.decoder.depth}, got {self.layer}")
        own = (model.blocks, model.side // model.patch[1], model.side // model.patch[2])
        self.teacher_layer = config.teacher_layer or _last_as_fine(teacher, own[1:])
        teacher.check_layers([self.teacher_layer])
        wanted = teacher.grid(self.teacher_layer, model.clip_frames)
        self.split = tuple(max(round(theirs / ours), 1) for theirs, ours in zip(wanted, own, strict=True))
        self.width = teacher.widths[self.teacher_layer - 1]
        self.norm = nn.LayerNorm(model.decoder.width)
        self.mlp = nn.Sequential(
            nn.Linear(model.decoder.width, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
        )
        times, rows, columns = self.split
        self.depatchify = nn.Linear(config.hidden, times * rows * columns * self.width)

    def forward(self, features: Tensor, teacher_features: Tensor) -> Tensor:
        """The weighted loss: minus the mean cosine similarity, patch by patch of the teacher.

        Args:
            features: of the decoder's layer `layer`, `(B, blocks, h, w, width)`, as `Reconstruction` has them.
            teacher_features: of the teacher's layer `teacher_layer`, of the real clips, `(B, t, h', w', C)`.
        """
        grown = self._grown(features)
        with torch.autocast(features.device.type, enabled=False):
            seen = resize(grown.float(), teacher_features.shape[1:4])
            return -self.weight * F.cosine_similarity(seen, teacher_features.float(), dim=-1).mean()

    def _grown(self, features: Tensor) -> Tensor:
        """Features with each patch cut into `split`, `(B, blocks * t, h * r, w * c, C)`."""
        cut = self.depatchify(self.mlp(self.norm(features))).unflatten(-1, (*self.split, self.width))
        return cut.permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(5, 6).flatten(3, 4).flatten(1, 2)


def _last_as_fine(teacher: VideoEncoder, grid: tuple[int, ...]) -> int:
    """The teacher's last layer with at least so many rows and columns; its last one if none has."""
    grids = {layer: teacher.grid(layer, 1)[1:] for layer in range(1, teacher.depth + 1)}
    fine = [layer for layer, own in grids.items() if own[0] >= grid[0] and own[1] >= grid[1]]
    return max(fine, default=teacher.depth)


def resize(features: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Features `(B, t, h, w, C)` on another grid: means over the areas of larger cells, linear between smaller ones."""
    for axis, cells in enumerate(grid, 1):
        if features.shape[axis] != cells:
            matrix = like(features, resizing_matrix, cells, features.shape[axis])
            features = (features.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return features
