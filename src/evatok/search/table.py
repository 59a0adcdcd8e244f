"""Tables of searched clips: what each block costs in quality under each prefix, in memory and as Parquet files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from torch import Tensor

from evatok.allocation.predictors import table_of
from evatok.assignment import AssignmentSpace
from evatok.utils.files import reason, replacing

FORMAT = 1
VALUES = ("mse", "lpips", "motion")
_METADATA = b"evatok.search"


class TableError(ValueError):
    """A file that is no table of searched clips, or tables that do not belong together."""


@dataclass(frozen=True)
class SearchTable:
    """Errors of each block of clips under each prefix, from which those of every assignment follow.

    What a thinned search left out is NaN.

    Args:
        space: the assignments.
        places: of the clips in the list that was searched, int64; skipped ones are missing.
        keys: of the clips, "source:video@start+step", and what else tells a clip from another.
        mse: of the block's pixels on the scale 0 to 255, `(clips, prefixes)` float32, numbered as `space` does.
        lpips: mean over the block's frames, likewise.
        motion: mean absolute change from frame to frame by block, `(clips, blocks)` float32 (`motion`).
        made_by: what made the numbers: tokenizer and checksum, network of LPIPS, clips, versions.
        skipped: places of clips that could not be read, and why.
    """

    space: AssignmentSpace
    places: tuple[int, ...]
    keys: tuple[str, ...]
    mse: Tensor
    lpips: Tensor
    motion: Tensor
    made_by: Mapping[str, Any]
    skipped: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        prefixes, blocks = self.space.prefix_starts[-1], self.space.blocks
        if len(self.places) != len(self.keys):
            raise TableError(f"there are {len(self.places)} places and {len(self.keys)} keys")
        for name, width in (("mse", prefixes), ("lpips", prefixes), ("motion", blocks)):
            if getattr(self, name).shape != (len(self.keys), width):
                shape = tuple(getattr(self, name).shape)
                raise TableError(f"{name} must be {(len(self.keys), width)}, got {shape}")

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def whole(self) -> "SearchTable":
        """The table of those clips that were measured under every prefix."""
        return self.rows(self.lpips.isfinite().all(1).nonzero()[:, 0].tolist())

    @property
    def clip_lpips(self) -> Tensor:
        """LPIPS of every clip under every assignment, `(clips, len(space))`: the mean over its blocks."""
        return table_of(self.lpips, self.space)

    @property
    def clip_psnr(self) -> Tensor:
        """PSNR in dB of every clip under every assignment, from its mean squared error; at most 100."""
        mse = table_of(self.mse, self.space)
        return (20 * torch.log10(torch.tensor(255.0)) - 10 * mse.log10()).clamp(max=100)

    @property
    def shortest_mse(self) -> Tensor:
        """Mean squared error of each block at the shortest assignment, `(clips, blocks)` float32."""
        return self.mse[:, self.space.prefixes[0]]

    @property
    def sources(self) -> tuple[str, ...]:
        """Name of each clip's source."""
        return tuple(key.partition(":")[0] for key in self.keys)

    def rows(self, chosen: Sequence[int]) -> "SearchTable":
        """The table of some of its clips; `skipped` stays."""
        picked = torch.tensor(chosen, dtype=torch.int64)
        return replace(
            self,
            places=tuple(self.places[row] for row in chosen),
            keys=tuple(self.keys[row] for row in chosen),
            **{name: getattr(self, name)[picked] for name in VALUES},
        )

    @classmethod
    def joined(cls, tables: Sequence["SearchTable"]) -> "SearchTable":
        """Tables one after another; TableError if they were made by different things."""
        first = tables[0]
        for table in tables[1:]:
            if table.space != first.space or table.made_by != first.made_by:
                raise TableError(f"tables differ in what made them: {dict(first.made_by)} and {dict(table.made_by)}")
        return cls(
            first.space,
            tuple(place for table in tables for place in table.places),
            tuple(key for table in tables for key in table.keys),
            made_by=first.made_by,
            skipped={place: reason for table in tables for place, reason in table.skipped.items()},
            **{name: torch.cat([getattr(table, name) for table in tables]) for name in VALUES},
        )

    def write(self, path: Path) -> None:
        """Writes a Parquet file, whole or not at all: a row a clip, a list of values for each metric."""
        metadata = {
            "format": FORMAT,
            "levels": list(self.space.levels),
            "blocks": self.space.blocks,
            "made_by": dict(self.made_by),
            "skipped": dict(self.skipped),
        }
        columns = {
            "place": pyarrow.array(self.places, pyarrow.int64()),
            "key": pyarrow.array(self.keys, pyarrow.string()),
        }
        for name in VALUES:
            values = getattr(self, name).cpu().numpy().astype(np.float32)
            columns[name] = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.ravel()), values.shape[1])
        table = pyarrow.table(columns).replace_schema_metadata({_METADATA: json.dumps(metadata)})
        with replacing(path) as temporary:
            pyarrow.parquet.write_table(table, temporary)

    @classmethod
    def read(cls, path: Path) -> "SearchTable":
        """The table in a file that `write` wrote; TableError for any other."""
        try:
            table = pyarrow.parquet.read_table(path)
            metadata = json.loads((table.schema.metadata or {})[_METADATA])
        except (pyarrow.ArrowException, OSError, KeyError) as error:
            raise TableError(f"{path} is no table of searched clips: {reason(error)}") from error
        if metadata["format"] != FORMAT:
            raise TableError(f"{path} has format {metadata['format']}; this version of evatok reads format {FORMAT}")
        space = AssignmentSpace(tuple(metadata["levels"]), metadata["blocks"])
        values = {}
        for name in VALUES:
            flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).copy()
            values[name] = torch.from_numpy(flat).view(len(table), table.schema.field(name).type.list_size)
        places, keys = (tuple(table[name].to_pylist()) for name in ("place", "key"))
        skipped = {int(place): reason for place, reason in metadata["skipped"].items()}
        return cls(space, places, keys, made_by=with_new_names(metadata["made_by"]), skipped=skipped, **values)


def with_new_names(made_by: Mapping[str, Any]) -> dict[str, Any]:
    """What made a table, as this version names it: `lpips_net` was `network`."""
    return {"lpips_net" if name == "network" else name: value for name, value in made_by.items()}
