"""The patch discriminator: a transformer that says how real each space-time patch looks (PatchGAN, as in LARP)."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from evatok.nn.patches import MOST_SIDE, Patches, check_patch
from evatok.nn.positions import PositionEmbedding
from evatok.nn.transformer import TransformerConfig
from evatok.nn.vit import patch_coordinates, vit_layers
from evatok.utils.configs import check_between


@dataclass(frozen=True)
class PatchDiscriminatorConfig:
    """What a patch discriminator is made of. The defaults are small; the paper's are in `configs/paper`.

    Args:
        patch: frames, height and width of a patch in pixels.
        side: of the trained square in pixels, for positions; clips of any size fit the same weights.
        transformer: size of the ViT.
    """

    patch: tuple[int, int, int] = (4, 8, 8)
    side: int = 64
    transformer: TransformerConfig = field(default_factory=lambda: TransformerConfig(128, 2, 4))

    def __post_init__(self) -> None:
        object.__setattr__(self, "patch", tuple(self.patch))
        check_patch(self.patch)
        check_between(self, 1, MOST_SIDE, "side")
        if self.side < max(self.patch[1:]):
            raise ValueError(f"side must be at least that of a patch, {max(self.patch[1:])}, got {self.side}")


class PatchDiscriminator(nn.Module):
    """A ViT over 3D patches, in which each sees all of its clip; an untrained one says 0 of every patch."""

    def __init__(self, config: PatchDiscriminatorConfig) -> None:
        super().__init__()
        width = config.transformer.width
        self.config = config
        self.patches = Patches(config.patch, width)
        self.position = PositionEmbedding(width, with_level=False)
        self.transformer = vit_layers(config.transformer)
        self.head = nn.Linear(width, 1)
        # What makes videos begins without a gradient from one that knows nothing yet.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, video: Tensor) -> Tensor:
        """Logits `(B, blocks, h, w)` float32 of the patches of videos, high where they look real.

        Args:
            video: `(B, F, 3, H, W)` float in about [-1, 1]; F, H and W are multiples of the patch's.

        Raises:
            ValueError: for any other shape.
        """
        self._check(video)
        _, height, width = self.config.patch
        patches = self.patches(video)
        coordinates = patch_coordinates(video, self.config.patch, self.config.side)
        features = patches.flatten(1, 2) + self.position(coordinates).to(patches.dtype)
        logits: Tensor = self.head(self.transformer(features)).float()
        return logits.view(len(video), -1, video.shape[-2] // height, video.shape[-1] // width)

    def _check(self, video: Tensor) -> None:
        frames, height, width = self.config.patch
        if video.ndim == 5 and video.shape[2] == 3:
            sizes = video.shape[1], video.shape[3], video.shape[4]
            if all(size and size % part == 0 for size, part in zip(sizes, self.config.patch, strict=True)):
                return
        expected = f"(B, F, 3, H, W) with F, H and W multiples of {frames}, {height} and {width}"
        raise ValueError(f"video must be {expected}, got {tuple(video.shape)}")
