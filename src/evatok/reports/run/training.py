"""The section of a training: what it is, losses, codes, rates, what validation found and saw."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from evatok.figures.embedded import png_uri, svg_uri
from evatok.figures.steps import Steps, steps_figure
from evatok.reports.card import TRAINING, TrainingRecord, described_source, duration
from evatok.reports.record import RecordError, read_json
from evatok.reports.run.log import RunLog, read_log
from evatok.reports.run.page import Cells, Facts, Folded, Gallery, Heading, Part, Picture, Section, Text
from evatok.reports.run.samples import samples
from evatok.training.checkpoints import checkpoints
from evatok.training.optimizers import OptimizerConfig, relative_rate
from evatok.utils.configs import from_dict
from evatok.utils.tables import Table

RUN = "config.json"
# What numbers of validation and of codes are called: "*/" is before those that are of a source, or of the codes.
_TITLES = {
    "*/psnr": "PSNR, dB",
    "*/ssim": "SSIM",
    "*/lpips": "LPIPS",
    "*/l1": "mean absolute error",
    "*/used": "share of the codes used",
    "*/codes": "share of the codes used, all lengths",
    "*/perplexity": "perplexity of the codes",
    "*/tokens": "tokens a clip",
    "*/borders": "change at borders of patches, relative",
    "percentile": "percentile of the proxy reward, %",
    "codes": "nats a code",
    "perplexity": "perplexity of the next code",
    "lengths": "nats a length token",
    "length_accuracy": "share of the lengths that were likeliest",
    "bits_per_clip": "bits a clip",
}
_RATES = 200


@dataclass(frozen=True)
class Run:
    """A training as its folder tells of it.

    Args:
        config: of its stage.
        versions: with which it runs, commit included; empty where only its result is here.
        earlier: how often it went on with another config or other versions.
        training: how far it is, by the last checkpoint or the result; None before the first.
        result: the folder of what it has trained so far; None before the first checkpoint.
        finished: whether that is the end's.
        log: what it logged.
    """

    config: Mapping[str, Any]
    versions: Mapping[str, Any]
    earlier: int
    training: TrainingRecord | None
    result: Path | None
    finished: bool
    log: RunLog


def is_training(folder: Path) -> bool:
    """Whether a folder is a run's, or that of a result with its `training.json`."""
    return _run_config(folder) is not None or (folder / TRAINING).exists()


def training_section(path: Path, place: str) -> Section:
    """The section of a training by its folder, or by the file of its record alone.

    Raises:
        RecordError: the files are not what training writes.
    """
    run = _read(path) if path.is_dir() else _of_record(TrainingRecord.read(path), None)
    parts = [*_about(run), *_curves(run), *_validation(run), *_pictures(run)]
    parts += samples(run.result, run.config) if run.result else []
    config = yaml.safe_dump(dict(run.config), sort_keys=False, default_flow_style=None, width=100)
    parts += [Folded("The whole configuration", config)]
    return Section(f"Training of {_stage(run.config)}", place, parts)


def _read(folder: Path) -> Run:
    run = _run_config(folder)
    if run is None:
        return _of_record(TrainingRecord.read(folder / TRAINING), folder)
    exports = [folder / "final", *(each / "export" for each in reversed(checkpoints(folder / "checkpoints")))]
    result = next((each for each in exports if (each / TRAINING).exists()), None)
    training = None if result is None else TrainingRecord.read(result / TRAINING)
    log = read_log(folder, str(run["config"].get("loop", {}).get("tracker")))
    finished = result == folder / "final"
    return Run(run["config"], run["versions"], len(run["earlier"]), training, result, finished, log)


def _of_record(training: TrainingRecord, result: Path | None) -> Run:
    log = RunLog(missing="The log stayed in the run's folder, which this is not: only what its record has is shown.")
    return Run(training.config, {}, 0, training, result, True, log)


def _run_config(folder: Path) -> dict[str, Any] | None:
    """What a run wrote of its config; None where the folder is no run's."""
    try:
        entries = read_json(folder / RUN)
    except RecordError:
        return None
    kinds = {"config": dict, "versions": dict, "earlier": list}
    return entries if all(isinstance(entries.get(key), kind) for key, kind in kinds.items()) else None


def _stage(config: Mapping[str, Any]) -> str:
    if "lengths" in config:
        return "a final tokenizer (stage 4)"
    if "codebook" in config:
        return "a proxy tokenizer (stage 1)"
    return "a router (stage 3)" if "keep_patches" in config else "a generator"


def _about(run: Run) -> Iterator[Part]:
    loop, training = run.config["loop"], run.training
    rows = {"state": _state(run)}
    if training is not None:
        rows["clips seen"] = f"{training.clips:,}"
        rows["time"] = duration(training.seconds) + (f" on {training.machine}" if training.machine else "")
        if training.seconds:
            rows["on average"] = f"{training.clips / training.seconds:.3g} clips/s, validation left out"
        if training.skipped:
            rows["steps left out"] = f"{training.skipped:,}, as they were not finite"
    rows |= {"seed": str(loop["seed"]), "precision": str(loop["precision"])}
    rows |= _data(run.config)
    rows |= {name: str(value) for name, value in run.versions.items() if value}
    if run.earlier:
        rows["went on with other values"] = f"{run.earlier} times; its {RUN} has what held before"
    rows["command"] = "evatok train with the configuration below; the words themselves are not kept"
    yield Facts(rows)
    if training is not None and training.remarks:
        yield Text(training.remarks)
    if not run.versions:
        yield Text("Versions and commit are noted in a run's folder, which this is not.", missing=True)


def _state(run: Run) -> str:
    wanted = run.config["loop"]["steps"]
    if run.training is None:
        logged = max((line.steps[-1] for line in run.log.numbers.values()), default=0)
        return f"no checkpoint yet; {logged:,} of {wanted:,} steps are in the log"
    if run.finished:
        return f"finished: {run.training.steps:,} steps"
    return f"not finished: the last checkpoint is of step {run.training.steps:,} of {wanted:,}"


def _data(config: Mapping[str, Any]) -> dict[str, str]:
    """Whence the clips came: sources of tokenizers, searches of routers, token sets of generators."""
    data = config.get("data", config)
    rows = {}
    for name in ("train", "validation"):
        found = data.get(name)
        listed = found if isinstance(found, list) else [found] if found else []
        said = [described_source(each) if isinstance(each, dict) else str(each) for each in listed]
        rows[f"{name} data"] = "; ".join(said) or "none"
    return rows


def _curves(run: Run) -> Iterator[Part]:
    if run.log.missing:
        yield Text(run.log.missing, missing=True)
    losses = [_picture(f"loss {name}", [line]) for name, line in run.log.under("loss/").items()]
    if losses:
        yield Heading("Losses of training, weighted")
        yield Gallery(losses)
    course = [_picture(f"norm of the gradient of {name}", [line], log=True) for name, line in _gradients(run.log)]
    course += [_picture("clips a second", [line]) for line in run.log.under("clips/s").values()]
    course += _grouped_pictures(run.log.others, "training")
    course += _rates(run.config)
    if course:
        yield Heading("Gradients, throughput, codes, learning rates")
        yield Gallery(course)


def _gradients(log: RunLog) -> list[tuple[str, Steps]]:
    """Those that a logarithmic axis can show."""
    return [(name, line) for name, line in log.under("gradient/").items() if min(line.values) > 0]


def _rates(config: Mapping[str, Any]) -> list[Picture]:
    """Learning rates of the optimiser, which follow from its config and the step; none by another version's config."""
    try:
        optimizer = from_dict(OptimizerConfig, config["optimizer"])
    except (KeyError, TypeError, ValueError):
        return []
    steps = config["loop"]["steps"]
    some = [step for step in range(0, steps, max(1, steps // _RATES))]
    peaks = {"AdamW": optimizer.lr} | ({"Muon": optimizer.muon_lr} if optimizer.kind == "muon" else {})
    lines = [
        Steps(name, some, [peak * relative_rate(step, steps, optimizer) for step in some])
        for name, peak in peaks.items()
    ]
    return [_picture("learning rate, by the schedule", lines)]


def _validation(run: Run) -> Iterator[Part]:
    found = run.log.under("validation/") or _remembered(run.training)
    if not found:
        yield Text("Nothing has been validated yet, or there is nothing to validate on.", missing=True)
        return
    yield Heading("Validation on held-out data")
    if max(len(line.steps) for line in found.values()) > 1:
        yield Gallery(_grouped_pictures(found, "validation"))
    last = max(line.steps[-1] for line in found.values())
    yield Text(f"At step {last:,}:")
    yield from map(Cells, _last(found))


def _remembered(training: TrainingRecord | None) -> dict[str, Steps]:
    """What validations found, by the record of a training."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for each in training.validations if training else []:
        for name, value in each["scalars"].items():
            steps, values = found.setdefault(name, ([], []))
            steps.append(each["steps"])
            values.append(value)
    return {name: Steps("", *columns) for name, columns in found.items()}


def _named(name: str) -> tuple[str, str, str]:
    """The parts of a name such as `film/psnr/8`: source, what it is, at which length or preference."""
    words = name.split("/")
    at = words.pop() if len(words) > 1 and words[-1].removeprefix("w_q ").replace(".", "", 1).isdigit() else ""
    return "/".join(words[:-1]), words[-1], at


def _grouped_pictures(found: Mapping[str, Steps], about: str) -> list[Picture]:
    """A picture for each kind of number, with a line for each length; several sources by their mean."""
    kinds: dict[tuple[str, bool], dict[str, list[Steps]]] = {}
    for name, line in found.items():
        source, what, at = _named(name)
        title = _TITLES.get(f"*/{what}" if source else what, what)
        kinds.setdefault((title, bool(at)), {}).setdefault(at, []).append(line)
    pictures = []
    for (title, _), by_length in kinds.items():
        lines = [_mean(at, lines) for at, lines in by_length.items()]
        several = max(len(lines) for lines in by_length.values())
        mean = f", mean of {several} sources" if several > 1 else ""
        pictures.append(_picture(f"{about}: {title}{mean}", lines))
    return pictures


def _mean(name: str, lines: Sequence[Steps]) -> Steps:
    """The mean of numbers over the steps that all have."""
    values = [dict(zip(line.steps, line.values, strict=True)) for line in lines]
    steps = sorted(set.intersection(*(set(each) for each in values)))
    return Steps(name, steps, [fmean(each[step] for each in values) for step in steps])


def _last(found: Mapping[str, Steps]) -> Iterator[Table]:
    """The last numbers as tables: a row a source and length, a column a kind of number."""
    rows: dict[str, dict[str, str]] = {}
    for name, line in found.items():
        source, what, at = _named(name)
        rows.setdefault(f"{source} {at}".strip(), {})[what] = f"{line.values[-1]:.4g}"
    by_columns: dict[tuple[str, ...], list[list[str]]] = {}
    for row, numbers in rows.items():
        by_columns.setdefault(tuple(numbers), []).append([row, *numbers.values()])
    for columns, cells in by_columns.items():
        yield Table(["", *columns], cells)


def _pictures(run: Run) -> Iterator[Part]:
    """Held-out pictures as the last validation saw them."""
    if run.log.pictures:
        yield Heading("Held-out clips as the last validation saw them")
    for name, (step, data) in run.log.pictures.items():
        about = f"{name} at step {step:,}: middle frames of originals, and below them at each number of tokens a block"
        yield Picture(png_uri(data), about, wide=True)


def _picture(title: str, lines: Sequence[Steps], *, log: bool = False) -> Picture:
    return Picture(svg_uri(steps_figure(title, lines, log=log)), title)
