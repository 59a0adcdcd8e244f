"""The configuration of a router and its presets."""

from dataclasses import dataclass, field
from typing import Literal

from evatok.allocation.calibration import Calibration
from evatok.assignment import AssignmentSpace
from evatok.nn.patches import MOST_SIDE, check_patch
from evatok.nn.transformer import TransformerConfig
from evatok.utils.configs import check_between

Head = Literal["classification", "regression", "prefix_regression"]


@dataclass(frozen=True)
class BlockwiseConfig:
    """A network of measures instead of patches, which predicts every block alike (ours).

    Args:
        width: of the MLP that all blocks share.
        rank: numbers of a block that meet those of a prefix.
    """

    width: int = 256
    rank: int = 64

    def __post_init__(self) -> None:
        check_between(self, 1, 8192, "width", "rank")


@dataclass(frozen=True)
class RouterConfig:
    """What a router is made of. The defaults are the preset `tiny`.

    Args:
        levels: possible numbers of tokens of a block, those of the tokenizer.
        blocks: blocks of a full clip, those of the tokenizer.
        patch: frames, height and width of a patch in pixels; a block has `patch[0]` frames.
        side: the router looks at a clip brought to an area of `side ** 2` pixels, its aspect kept.
        transformer: size of the ViT.
        head: what is predicted. `classification`: which assignment has the highest reward, at one preference (the
            paper's); `regression`: LPIPS of every assignment, from which it follows at any preference;
            `prefix_regression`: LPIPS of each block under each prefix, whose means are the same.
        hints: begins the summary token with how much each block changes from frame to frame and from pixel to pixel,
            which a small ViT learns slowly from few clips. The paper's has none.
        blockwise: takes the place of the ViT, and with it of `transformer` and `hints`, in a `prefix_regression`.
        calibration: what preferences and budgets mean to the router; None until it is trained.
    """

    levels: tuple[int, ...] = (8, 16, 32, 64, 128)
    blocks: int = 4
    patch: tuple[int, int, int] = (4, 8, 8)
    side: int = 32
    transformer: TransformerConfig = field(default_factory=lambda: TransformerConfig(128, 2, 4))
    head: Head = "prefix_regression"
    hints: bool = True
    blockwise: BlockwiseConfig | None = None
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        for name in ("levels", "patch"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_patch(self.patch)
        check_between(self, 1, MOST_SIDE, "side")
        if self.side < max(self.patch[1:]):
            raise ValueError(f"side must be at least that of a patch, {max(self.patch[1:])}, got {self.side}")
        if self.blockwise and self.head != "prefix_regression":
            raise ValueError(f"a blockwise network is one of the head 'prefix_regression', got {self.head!r}")
        if self.blockwise and any(side % 8 for side in self.patch[1:]):
            raise ValueError(f"a blockwise network measures parts of 8 pixels, which patch must fit, got {self.patch}")
        if self.hints and min(self.patch[1:]) < 8:
            raise ValueError(f"hints need patches of at least 8 pixels in height and width, got {self.patch}")
        AssignmentSpace.of_model(self.levels, self.blocks)
        if len(self.levels) < 2:
            raise ValueError(f"levels must be at least two, or there is nothing to choose, got {self.levels}")

    @property
    def space(self) -> AssignmentSpace:
        """The assignments of a full clip."""
        return AssignmentSpace(self.levels, self.blocks)

    @property
    def clip_frames(self) -> int:
        """Frames of a full clip."""
        return self.blocks * self.patch[0]

    @property
    def outputs(self) -> int:
        """Numbers that are predicted of a clip."""
        return self.space.prefix_starts[-1] if self.head == "prefix_regression" else len(self.space)


ROUTER_PRESETS: dict[str, RouterConfig] = {
    # Ours, as its hints and its regression are.
    "tiny": RouterConfig(),
    "tiny-blockwise": RouterConfig(side=64, blockwise=BlockwiseConfig()),
    # 19.6M weights; the paper's, a "ViT-S", has 19.9M. That it is as wide and deep as the small encoder is a guess.
    "paper": RouterConfig(
        levels=(32, 64, 128, 256, 512),
        side=128,
        transformer=TransformerConfig(512, 6, 8),
        head="classification",
        hints=False,
    ),
}
