"""What a search's folder holds: its plan, the table in parts, the clips' frames beside them. Reading writes nothing."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evatok.data.overlap import refuse_overlap
from evatok.data.sources import open_source, source_config
from evatok.search.table import SearchTable, with_new_names
from evatok.utils.files import reason, write_json
from evatok.utils.parts import Part, differing, parts_in, undone

PLAN, PREDICTORS = "search.json", "predictors.safetensors"
_GO_ON = "run the same `evatok search` again"


@dataclass(frozen=True)
class Plan:
    """What a folder of parts is to hold: what makes the numbers, how many clips, and how many in each part."""

    made_by: dict[str, Any]
    clips: int
    part: int

    def parts(self, folder: Path) -> list[Part]:
        """The parts, whose places are those of their clips."""
        starts = range(0, self.clips, self.part)
        return parts_in(folder, [range(start, min(start + self.part, self.clips)) for start in starts])

    def claim(self, folder: Path) -> None:
        """Notes the plan in its folder; ValueError if the folder is that of a plan which this one does not go on."""
        path = folder / PLAN
        if path.exists():
            found = read_plan(folder)
            if found == self:
                return
            if not self._goes_on(found):
                keys = differing(found.made_by, self.made_by)
                what = ", ".join(keys) or f"{found.clips} clips in parts of {found.part}"
                raise ValueError(f"{folder} holds another search, which differs in: {what}; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(self))

    def _goes_on(self, found: "Plan") -> bool:
        """Whether all parts of another plan are parts of this one, which has more."""
        # Clips that are drawn at random are the same ones, however many there are; their number makes no numbers.
        same = found.made_by == self.made_by and "clips" not in self.made_by and found.part == self.part
        return same and found.clips < self.clips and found.clips % found.part == 0


def read_plan(folder: Path) -> Plan:
    """The plan in a folder; ValueError if there is none."""
    try:
        plan = Plan(**json.loads((folder / PLAN).read_text()))
        return replace(plan, made_by=with_new_names(plan.made_by))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder} holds no search: {reason(error)}") from error


def read_table(folder: Path) -> SearchTable:
    """The table of a finished search, NaN where it was thinned; ValueError if there is none, or it goes on."""
    parts = read_plan(folder).parts(folder)
    if missing := undone(parts):
        raise ValueError(f"the search in {folder} lacks {len(missing)} of {len(parts)} parts: {_GO_ON}")
    return SearchTable.joined([SearchTable.read(Path(part.path)) for part in parts])


def check_held_out(training: Path, held_out: Path) -> None:
    """ValueError unless two folders' searches are by the same tokenizer and network, and share no video."""
    plans = [read_plan(folder) for folder in (training, held_out)]
    for what in ("tokenizer", "checksum", "lpips_net"):
        a, b = (plan.made_by[what] for plan in plans)
        if a != b:
            raise ValueError(f"the searches in {training} and {held_out} differ in {what}: {a} and {b}")
    refuse_overlap(*[[open_source(source_config(each)) for each in plan.made_by["sources"]] for plan in plans])
