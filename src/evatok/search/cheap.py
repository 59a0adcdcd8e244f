"""What a searched table teaches without any training: the cheap predictors, and the search itself as a predictor."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from evatok.allocation.predictors import BlockRidge, blocks_of, table_of
from evatok.assignment import AssignmentSpace
from evatok.nn.packed import Layout
from evatok.pretrained.lpips import LPIPS
from evatok.search.table import SearchTable, TableError
from evatok.search.walk import search_clips
from evatok.tokenizer.network import TokenizerNetwork
from evatok.utils.files import replacing
from evatok.video.fit import fill_blocks, to_bytes, to_signed

_METADATA = "evatok.predictors"
_RIDGES = ("motion", "error")


@dataclass(frozen=True)
class CheapPredictors:
    """The predictors that any router must beat, fitted on a searched table of training clips.

    Those of clips that were not searched are `Mean`, `Motion` and `Error`, made of these numbers.

    Args:
        mean: mean LPIPS of each block under each prefix, `(prefixes,)` float64.
        motion: from the temporal L1 of each block.
        error: from the mean squared error of each block at the shortest assignment.
    """

    mean: Tensor
    motion: BlockRidge
    error: BlockRidge

    @property
    def space(self) -> AssignmentSpace:
        """The assignments of a full clip."""
        return self.motion.space

    @classmethod
    def fit(cls, table: SearchTable) -> "CheapPredictors":
        """Fits all three; TableError if the table has fewer than two clips."""
        if len(table) < 2:
            raise TableError(f"predictors are fitted to at least 2 clips, the table has {len(table)}")
        motion = BlockRidge.fit(table.space, table.motion, table.lpips)
        return cls(table.lpips.double().mean(0), motion, BlockRidge.fit(table.space, table.shortest_mse, table.lpips))

    def tables(self, searched: SearchTable) -> dict[str, Tensor]:
        """What each predicts of searched clips, `(clips, len(space))` by name."""
        if searched.space != self.space:
            raise TableError(f"these predictors are for {self.space}, the clips were searched under {searched.space}")
        return {
            "mean": table_of(self.mean.expand(len(searched), -1), self.space),
            "motion": table_of(self.motion(searched.motion), self.space),
            "error": table_of(self.error(searched.shortest_mse), self.space),
        }

    def write(self, path: Path) -> None:
        """Writes a safetensors file, whole or not at all."""
        weights = {f"{name}.{t}": each for name in _RIDGES for t, each in enumerate(getattr(self, name).weights)}
        about = {"levels": self.space.levels, "blocks": self.space.blocks}
        with replacing(path) as temporary:
            temporary.write_bytes(save({"mean": self.mean, **weights}, metadata={_METADATA: json.dumps(about)}))

    @classmethod
    def read(cls, path: Path) -> "CheapPredictors":
        """The predictors in a file that `write` wrote; TableError for any other."""
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})[_METADATA])
                space = AssignmentSpace(tuple(about["levels"]), about["blocks"])
                motion, error = (
                    BlockRidge(space, tuple(file.get_tensor(f"{name}.{t}") for t in range(space.blocks)))
                    for name in _RIDGES
                )
                return cls(file.get_tensor("mean"), motion, error)
        except (OSError, SafetensorError, KeyError, ValueError) as error_:
            raise TableError(f"{path} holds no predictors: {error_}") from error_


@dataclass(frozen=True)
class Error:
    """A regression from how badly a tokenizer reconstructs each block at the shortest assignment.

    Args:
        ridge: the regression.
        network: the tokenizer.
    """

    ridge: BlockRidge
    network: TokenizerNetwork

    @torch.no_grad()
    def table(self, video: Tensor) -> Tensor:
        """As `Predictor.table` says."""
        shown = _shown(self.network, video)
        blocks = blocks_of(shown, self.network.config.block_frames)
        layout = Layout.of([[self.network.config.levels[0]] * blocks] * len(shown))
        ids, _ = self.network.encode_blocks(to_signed(shown), layout)
        decoded, _ = self.network.decode_blocks(ids, layout, (shown.shape[-2], shown.shape[-1]))
        difference = to_bytes(decoded).float() - shown.float()
        mse = difference.square().unflatten(1, (blocks, -1)).flatten(2).mean(2).cpu()
        return table_of(self.ridge(mse), self.ridge.space.of_blocks(blocks))


@dataclass(frozen=True)
class Search:
    """The search itself: measures what the others predict.

    Args:
        network: the tokenizer.
        lpips: the metric, where the tokenizer is.
    """

    network: TokenizerNetwork
    lpips: LPIPS

    def table(self, video: Tensor) -> Tensor:
        """As `Predictor.table` says."""
        shown, config = _shown(self.network, video), self.network.config
        values = search_clips(self.network, shown, self.lpips).lpips.cpu()
        return table_of(values, config.space.of_blocks(blocks_of(shown, config.block_frames)))


def _shown(network: TokenizerNetwork, video: Tensor) -> Tensor:
    """A video `(B, F, 3, H, W)` as uint8 of whole blocks, where the network is."""
    return to_bytes(to_signed(fill_blocks(video, network.config.block_frames)).to(network.device))
