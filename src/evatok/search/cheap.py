"""What a searched table teaches without any training: the cheap predictors.

The mean table of many clips, whose picks are the best fixed assignments, and regressions from one number a block: how
much its frames change (`motion`), or how badly it is reconstructed at the shortest assignment (`error`, the finding of
InfoTok, arXiv 2512.16975).
"""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from evatok.allocation.predictors import BlockRidge, table_of
from evatok.assignment import AssignmentSpace
from evatok.search.table import SearchTable, TableError
from evatok.utils.files import replacing

_METADATA = "evatok.predictors"
_RIDGES = ("motion", "error")


@dataclass(frozen=True)
class CheapPredictors:
    """The predictors that any router must beat, fitted on a searched table of training clips.

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
