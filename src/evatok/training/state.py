"""The state of a run as a checkpoint holds it: tensors in safetensors files, progress in JSON; nothing is pickled.

| file | what |
| --- | --- |
| `NAME.weights.safetensors` | a model's weights |
| `NAME.optimizers.safetensors` | what its optimisers remember of each weight; their settings are those of the config |
| `NAME.average.safetensors` | the average of its weights, where there is one |
| `task.safetensors` | what the task remembers |
| `progress.json` | how far the run is |
| `checkpoint.json` | the sizes and checksums of all these, written last (`checkpoints.seal`) |

Tensors are whole, so any number of processes can go on, sharded or not. States of the global random generators are not
kept: all that a run draws comes from generators that are seeded by its seed and the step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from evatok.training.checkpoints import Sealed, checkpoint_step, checkpoints, seal
from evatok.training.optimizers import remembered
from evatok.training.reading import few, printable, read_json, read_tensors
from evatok.training.sharding import full_tensor, kept_weights, part
from evatok.training.task import Progress, Task, Trained
from evatok.utils.files import write_json
from evatok.utils.ranks import rank_and_world

_PROGRESS, _TASK = "progress.json", "task.safetensors"
_MOST = 2**63  # what no count of a run reaches
Tensors = dict[str, dict[str, Tensor]]  # by the file and their name


def write_state(folder: Path, task: Task[Any], progress: Progress) -> None:
    """Writes what a resume needs into a checkpoint's folder; all processes must call it, the main one writes."""
    main = rank_and_world()[0] == 0
    for file, tensors in _files(task):
        kept = dict[str, Tensor]()
        for name, tensor in tensors.items():
            whole = full_tensor(tensor)
            if main:
                kept[name] = whole.cpu().contiguous()
        if main:
            save_file(kept, folder / file)
    if main:
        write_json(folder / _PROGRESS, asdict(progress))
        seal(folder)


def _files(task: Task[Any]) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    for name, trained in task.trained.items():
        yield _file(name, "weights"), trained.network.state_dict()
        yield _file(name, "optimizers"), _remembered(trained)
        if trained.average:
            yield _file(name, "average"), trained.average.state_dict()
    yield _TASK, task.state_dict()


def _remembered(trained: Trained[Any]) -> dict[str, Tensor]:
    return {
        f"{name}.{what}": value
        for optimizer, weights in _updated(trained)
        for name, weight in weights.items()
        for what, value in optimizer.state.get(weight, {}).items()
    }


def _file(name: str, what: str) -> str:
    return f"{name}.{what}.safetensors"


def _updated(trained: Trained[Any]) -> Iterator[tuple[Optimizer, dict[str, Tensor]]]:
    """Each optimiser with the weights that it updates, by name."""
    names = {weight: name for name, weight in kept_weights(trained.network).items()}
    for optimizer in trained.optimizers:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        yield optimizer, {names[weight]: weight for weight in weights}


def read_last(folder: Path, task: Task[Any], steps: int) -> tuple[Progress, Tensors]:
    """What the last checkpoint of a folder of them holds, for a run of so many `steps`, all of which fits the task.

    Raises:
        ValueError: it is damaged, or is not of this task; the sentence names the file, and the newest checkpoint that
            can be resumed instead.
    """
    *earlier, last = checkpoints(folder)
    try:
        return read_state(last, task, steps)
    except ValueError as error:
        raise ValueError(f"{error}; {_way_on(last, earlier, task, steps)}") from error


def _way_on(last: Path, earlier: list[Path], task: Task[Any], steps: int) -> str:
    damaged = [last]
    for checkpoint in reversed(earlier):
        try:
            read_state(checkpoint, task, steps)
        except ValueError:
            damaged.append(checkpoint)
        else:
            return f"remove {few([each.name for each in damaged])} to go on from {checkpoint}"
    return "there is no earlier checkpoint to go on from"


def read_state(folder: Path, task: Task[Any], steps: int) -> tuple[Progress, Tensors]:
    """What a checkpoint holds, of which nothing is taken up yet; ValueError, as `read_last` says."""
    files = Sealed(folder)
    progress = _progress(files.path(_PROGRESS), checkpoint_step(folder), steps)
    found: Tensors = {}
    for name, trained in task.trained.items():
        weights, memory, average = (_file(name, what) for what in ("weights", "optimizers", "average"))
        found[weights] = read_tensors(files.path(weights), trained.network.state_dict())
        found[memory] = _read_memory(files.path(memory), trained, progress.steps)
        if trained.average and average in files.files:
            found[average] = _read_average(files.path(average), trained, progress.steps)
    found[_TASK] = read_tensors(files.path(_TASK), task.state_dict())
    return progress, found


def _read_memory(path: Path, trained: Trained[Any], steps: int) -> dict[str, Tensor]:
    groups = [
        {f"{name}.{what}": value for what, value in remembered(optimizer, weight).items()}
        for optimizer, weights in _updated(trained)
        for name, weight in weights.items()
    ]
    found = read_tensors(path, {}, groups)
    for name, value in found.items():
        if name.endswith(".step") and not 1 <= value.item() <= steps:
            raise ValueError(f"{path} has {name} {value.item():g} in a run of {steps} steps")
    return found


def _read_average(path: Path, trained: Trained[Any], steps: int) -> dict[str, Tensor]:
    weights = {f"module.{name}": weight for name, weight in kept_weights(trained.network).items()}
    found = read_tensors(path, {"n_averaged": torch.tensor(steps)}, [weights])
    averaged = int(found["n_averaged"])
    if averaged > steps or (averaged > 0) != (len(found) > 1):
        raise ValueError(f"{path} has {len(found) - 1} averages of {averaged} steps in a run of {steps}")
    return found


def _progress(path: Path, step: int, steps: int) -> Progress:
    entries = read_json(path)
    names = [field.name for field in fields(Progress)]
    if not isinstance(entries, dict) or entries.keys() != {*names}:
        raise ValueError(f"{path} must have the entries {', '.join(names)}")
    progress = Progress(**entries)
    for name in ("steps", "clips", "seconds", "skipped"):
        if not _counts(value := getattr(progress, name), whole=name != "seconds"):
            raise ValueError(f"{path} must have {name} from 0 on, got {printable(value)}")
    if not isinstance(progress.validations, list) or not all(map(_is_validation, progress.validations)):
        raise ValueError(f"{path} has validations that are not what a run writes")
    if progress.steps != step or progress.skipped > step:
        raise ValueError(f"{path} has {progress.steps} steps, {progress.skipped} of them skipped, at step {step}")
    if step > steps:
        raise ValueError(f"{path} is of step {step}, beyond the {steps} of loop.steps")
    return progress


def _is_validation(entries: Any) -> bool:
    return (
        isinstance(entries, dict)
        and entries.keys() == {"steps", "clips", "seconds", "scalars"}
        and all(_counts(entries[name], whole=name != "seconds") for name in ("steps", "clips", "seconds"))
        and isinstance(entries["scalars"], dict)
        and all(isinstance(value, int | float) for value in entries["scalars"].values())
    )


def _counts(value: Any, whole: bool) -> bool:
    kinds = int if whole else int | float
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value < _MOST


def take_up(found: Tensors, task: Task[Any]) -> None:
    """Gives a task's models, optimisers, averages and its own memory what `read_state` found.

    Learning rates and the like stay the config's of now; an average that there was not yet begins with the next step.
    """
    for name, trained in task.trained.items():
        network = trained.network
        own = network.state_dict()
        network.load_state_dict({key: part(value, own[key]) for key, value in found[_file(name, "weights")].items()})
        _take_up_memory(found[_file(name, "optimizers")], trained)
        if trained.average and _file(name, "average") in found:
            trained.average.load_state_dict(found[_file(name, "average")], network)
    task.load_state_dict({name: value.clone() for name, value in found[_TASK].items()})


def _take_up_memory(memory: Mapping[str, Tensor], trained: Trained[Any]) -> None:
    for optimizer, weights in _updated(trained):
        state: dict[int, dict[str, Tensor]] = {}
        for number, (name, weight) in enumerate(weights.items()):
            own = {what: memory.get(f"{name}.{what}") for what in remembered(optimizer, weight)}
            # Copied: a file's own memory lies at odd addresses, where some CPUs round products differently.
            values = {what: part(value, weight).clone() for what, value in own.items() if value is not None}
            if values:  # a weight that had no gradient yet has none
                state[number] = values
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
