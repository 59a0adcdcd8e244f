"""`config.json` in a run's folder: the config and versions that it goes by, and what a resume may change of them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import accelerate

from evatok.training.reading import few, printable, read_json
from evatok.training.versions import commit, python, versions
from evatok.utils.configs import to_dict
from evatok.utils.files import write_json

_ABSENT = object()


class RunConfig:
    """What a run goes by now and, where it is resumed, what it has gone by before.

    Args:
        folder: of the run.
        config: the stage's config, a dataclass.
        resume: whether the run goes on. One that was begun before there was a `config.json` has nothing to compare.

    Raises:
        ValueError: the run goes on, and its `config.json` is none.
    """

    def __init__(self, folder: Path, config: Any, resume: bool) -> None:
        self.path = folder / "config.json"
        made_with = {**versions(), "commit": commit(), "accelerate": accelerate.__version__, "python": python()}
        # As a file gives it back, lists in place of tuples.
        self.now = json.loads(json.dumps({"config": to_dict(config), "versions": made_with}))
        self.before = _read(self.path) if resume and self.path.exists() else None

    def differences(self, fixed: Sequence[str]) -> list[str]:
        """What differs from before: dotted names with the values of then and now.

        Args:
            fixed: entries of the config that must stay as they were, with all within them. One that the evatok of then
                did not have is new, and may come.

        Raises:
            ValueError: some of `fixed` differ; the sentence names them.
        """
        if self.before is None:
            return []
        found = [*_differences(self.before["config"], self.now["config"])]
        within = tuple(f"{entry}." for entry in fixed)
        if refused := [each for each in found if f"{each[0]}.".startswith(within) and each[1] is not _ABSENT]:
            named = few([_sentence(*each) for each in refused], between="; ")
            unlike = f"which unlike its {self.path.name} has another {named}"
            raise ValueError(f"{self.path.parent} cannot be resumed by this config, {unlike}")
        found += _differences(self.before["versions"], self.now["versions"], "versions")
        return [_sentence(*each) for each in found]

    def write(self, step: int) -> None:
        """Writes what holds from a step on and, under `earlier`, oldest first, what held before where that differs."""
        record = {"from_step": step, **self.now, "earlier": []}
        if self.before is not None:
            if all(self.before[name] == value for name, value in self.now.items()):
                return
            record["earlier"] = [*self.before.pop("earlier"), self.before]
        write_json(self.path, record)


def _read(path: Path) -> dict[str, Any]:
    kinds = {"from_step": int, "config": dict, "versions": dict, "earlier": list}
    try:
        entries = read_json(path)
        if not isinstance(entries, dict) or not all(isinstance(entries.get(key), kind) for key, kind in kinds.items()):
            raise ValueError(f"{path} is not what a run writes, which has {', '.join(kinds)}")
    except ValueError as error:
        raise ValueError(f"{error}; remove it to go on with no config to compare with") from error
    return {name: entries[name] for name in kinds}


def _differences(before: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted names of what differs, with both values; those in a list of objects are counted from 0."""
    old, new = _entries(before), _entries(now)
    if old is not None and new is not None:
        for key in old | new:
            own = printable(str(key)).strip('"')
            inner = f"{name}.{own}" if name else own
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), inner)
    elif before != now:
        yield name, before, now


def _entries(value: Any) -> dict[Any, Any] | None:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return dict(enumerate(value))
    return value if isinstance(value, dict) else None


def _sentence(name: str, before: Any, now: Any) -> str:
    was, becomes = ("absent" if value is _ABSENT else printable(value, 200) for value in (before, now))
    return f"{name}: {was}, now {becomes}"
