"""The router as users hold it: a clip in, tokens of each of its blocks out."""

from collections.abc import Sequence

import torch
from torch import Tensor

from evatok.allocation.calibration import Calibration
from evatok.allocation.predictors import blocks_of, table_of
from evatok.allocation.rules import Price
from evatok.assignment import AssignmentSpace
from evatok.router.blockwise import BlockwiseNetwork
from evatok.router.config import RouterConfig
from evatok.router.network import RouterNetwork
from evatok.router.vit import VitNetwork
from evatok.utils.saving import Kind, SavedModel

# Clips that go through the network together on a GPU. Every pass has as many, so that rounding, and with it a clip's
# assignment, does not depend on how many clips there are. On a CPU they go one by one.
_TOGETHER = 8


class Router(SavedModel[RouterConfig]):
    """Predicts what assignments are worth to a clip, and picks one (paper, section 4).

    `router(video, w_q=1.4)` picks by preference; `table` is what any rule picks from. A clip's assignment is the same
    alone and in any batch.

    Args:
        config: what it is made of; `evatok.ROUTER_PRESETS` has named ones. Weights are random until trained or loaded.
    """

    KIND = Kind("router", "evatok.Router", RouterConfig)

    def __init__(self, config: RouterConfig) -> None:
        super().__init__()
        self.config = config
        self.network: RouterNetwork = BlockwiseNetwork(config) if config.blockwise else VitNetwork(config)

    @property
    def calibration(self) -> Calibration:
        """What preferences and budgets mean to this router; ValueError where it has not been trained."""
        if self.config.calibration is None:
            raise ValueError("this router is untrained: it has no calibration, so preferences mean nothing to it")
        return self.config.calibration

    def price(self, w_q: float | None = None) -> float:
        """The price of a token at a preference (the router's own if None), for `pick`.

        A classification has learned one preference: ValueError for any other.
        """
        calibration = self.calibration
        if self.config.head != "classification":
            return calibration.price(w_q)
        if w_q is not None and w_q != calibration.w_q:
            raise ValueError(f"this router has learned w_q {calibration.w_q} alone, got {w_q}")
        return 0.0

    @property
    def lpips_per_mse(self) -> float:
        """What a mean squared error is worth in LPIPS; ValueError where that is not stored."""
        if not self.calibration.lpips_per_mse:
            raise ValueError("this router does not know what a squared error is worth: train it again, or use LPIPS")
        return self.calibration.lpips_per_mse

    def price_for(self, tokens: float, beam: int = 0) -> float:
        """The stored price at which clips take `tokens` tokens each, on average, for `pick` or for a beam of a width.

        Raises:
            ValueError: the router knows one preference alone, or no assignment has so few tokens.
        """
        self.check_budgets()
        return self.calibration.price_for(tokens, beam)

    def check_budgets(self) -> None:
        """ValueError where the router knows one preference alone, so that a price means nothing to it."""
        if self.config.head == "classification":
            raise ValueError("this router has learned one preference alone, so it knows no budget of tokens")

    @torch.no_grad()
    def values(self, video: Tensor) -> Tensor | None:
        """LPIPS of each block of clips under each prefix, `(B, prefixes)` float32 on the CPU, as `table` takes them.

        Prefixes of as many blocks as the clips have, numbered as `AssignmentSpace` does. None where the router's head
        predicts only what whole assignments are worth.
        """
        if self.config.head != "prefix_regression":
            return None
        self._check(video)
        blocks = blocks_of(video, self.config.patch[0])
        return self._outputs(video).cpu()[:, : self.config.space.prefix_starts[blocks]]

    @property
    def mean_values(self) -> Tensor | None:
        """The mean of `values` over the clips that the router has learned from, `(prefixes,)`, or None likewise."""
        return self.network.mean.cpu() if self.config.head == "prefix_regression" else None

    @torch.no_grad()
    def table(self, video: Tensor) -> Tensor:
        """LPIPS of clips under every assignment of as many blocks as they have; any rule picks from it.

        A classification gives minus the logarithms of its probabilities instead: the least is its choice.

        Args:
            video: `(B, F, 3, H, W)`, uint8 or float in [-1, 1], of 1 frame up to a full clip, of any size.

        Returns:
            `(B, levels ** blocks)` float32 on the CPU.

        Raises:
            ValueError: for any other shape or range.
        """
        self._check(video)
        outputs = self._outputs(video).cpu()
        space = self.config.space.of_blocks(blocks_of(video, self.config.patch[0]))
        if self.config.head == "prefix_regression":
            return table_of(outputs, space)
        continuations = outputs.unflatten(1, (len(space), -1))
        if self.config.head == "regression":
            return continuations.mean(2)
        return -continuations.logsumexp(2).log_softmax(1)

    def pick(self, video: Tensor, price: float, prefix: Sequence[int] = ()) -> Tensor:
        """The assignments with the least LPIPS + `price` · tokens, `(B, blocks)` int64, all with the same `prefix`.

        A block counts as in a full clip: to a clip of half the blocks, a token costs as much.
        """
        return self.pick_from(self.table(video), price, prefix)

    def pick_from(self, table: Tensor, price: float, prefix: Sequence[int] = ()) -> Tensor:
        """What `pick` picks of clips with these tables, `(B, levels ** blocks)`."""
        space = self._space(table.shape[1])
        share = space.blocks / self.config.blocks
        return space.lengths[Price(price).pick(share * table, space, prefix)]

    def fewest(self, assignments: int) -> int:
        """Tokens of the shortest assignment of clips whose tables have so many."""
        return int(self._space(assignments).costs.min())

    def _space(self, assignments: int) -> AssignmentSpace:
        """The space of that many assignments."""
        return next(
            space
            for space in map(self.config.space.of_blocks, range(1, self.config.blocks + 1))
            if len(space) == assignments
        )

    def forward(self, video: Tensor, w_q: float | None = None, prefix: Sequence[int] = ()) -> Tensor:
        """Tokens of each block of clips, `(B, blocks)` int64, by preference.

        Args:
            video: as `table` takes it.
            w_q: weight of quality, above 0 (fewest tokens) and at most 2 (best quality); None: the router's own.
            prefix: fixes the first blocks.
        """
        return self.pick(video, self.price(w_q), prefix)

    def _check(self, video: Tensor) -> None:
        if video.ndim != 5 or video.shape[2] != 3 or not 1 <= video.shape[1] <= self.config.clip_frames:
            expected = f"(B, 1 to {self.config.clip_frames}, 3, H, W)"
            raise ValueError(f"video must be {expected}, got {tuple(video.shape)}")

    def _outputs(self, video: Tensor) -> Tensor:
        together = 1 if self.network.device.type == "cpu" else _TOGETHER
        outputs = []
        for clips in video.split(together):
            filled = torch.cat([clips, clips[-1:].expand(together - len(clips), -1, -1, -1, -1)])
            with torch.autocast(self.network.device.type, enabled=False):
                seen = self.network.look(filled.to(self.network.device))
                outputs.append(self.network(seen.to(self.network.dtype))[: len(clips)].float())
        return torch.cat(outputs) if outputs else torch.empty(0, self.config.outputs)
