"""The model card: a README.md beside a tokenizer's weights, made from how it was trained and evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from evatok.reports.record import EvaluationRecord, RecordError, read_json
from evatok.reports.tables import (
    blocks_table,
    codes_sentence,
    order_sentence,
    scores_table,
    x264_sentence,
    x264_table,
)
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.files import write_text
from evatok.utils.tables import table

TRAINING = "training.json"

_FRONT_MATTER = """\
---
license: apache-2.0
library_name: evatok
tags:
- video
- video-tokenizer
- vector-quantization
- adaptive-length
---"""


@dataclass(frozen=True)
class TrainingRecord:
    """How a tokenizer was trained: what training writes as `training.json` beside the weights.

    Args:
        steps: number of updates.
        clips: clips that were seen, repetitions counted.
        seconds: how long it took.
        skipped: steps left out because something in them was not finite.
        seed: of everything random.
        config: the stage's config, as `asdict` gives it.
        machine: what it ran on, in words such as "2 CPU cores"; None where nobody said.
        remarks: what a reader must know of how it went, such as settings that were changed on the way.
        validations: numbers on held-out clips on the way, as `Progress.validations`.
    """

    steps: int
    clips: int
    seconds: float
    skipped: int
    seed: int
    config: dict[str, Any]
    machine: str | None = None
    remarks: str | None = None
    validations: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a file; RecordError for one that does not hold these entries."""
        entries = read_json(path)
        try:
            return cls(**entries)
        except TypeError as error:
            raise RecordError(f"{path} is not what training writes: {error}") from error


def write_card(tokenizer: str | Path, evaluation: str | Path) -> Path:
    """Writes `README.md` into the folder of a tokenizer and its `training.json`; returns the card's path.

    Args:
        tokenizer: the folder.
        evaluation: an `evaluation.json` of the same weights.

    Raises:
        CheckpointError: if the folder holds no tokenizer.
        RecordError: if a record cannot be read, the evaluation is of other weights, or another README.md is there.
    """
    folder = Path(tokenizer)
    training, record = TrainingRecord.read(folder / TRAINING), EvaluationRecord.read(Path(evaluation))
    model = VideoTokenizer.from_pretrained(folder)
    if model.checksum != record.checksum:
        raise RecordError(
            f"{evaluation} is of {record.tokenizer} ({record.checksum}), not of {folder} ({model.checksum})"
        )
    path = folder / "README.md"
    if path.exists() and "library_name: evatok" not in path.read_text(encoding="utf-8", errors="replace"):
        raise RecordError(f"{path} exists and is no card of evatok's; give it another name")
    write_text(path, card(model, training, record))
    return path


def card(model: VideoTokenizer, training: TrainingRecord, record: EvaluationRecord) -> str:
    """The card as Markdown; RecordError where the training's config lacks its clips or sources."""
    try:
        trained = _training(training)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"the config in {TRAINING} does not describe the training's clips: {error}") from error
    parts = [
        _FRONT_MATTER,
        _what_it_is(model),
        _use(model),
        trained,
        *_learning(model, training),
        _validation(record),
        _limits(model, training),
    ]
    return "\n\n".join(parts) + "\n"


def _what_it_is(model: VideoTokenizer) -> str:
    config = model.config
    shortest, longest = (sum(config.space.uniform(level)) for level in (config.levels[0], config.levels[-1]))
    return (
        f"# {model.name}\n\n"
        f"A video tokenizer with a chosen number of discrete tokens for every {config.block_frames} frames. "
        f"A clip is {config.blocks} blocks of {config.block_frames} frames; a block takes "
        f"{', '.join(map(str, config.levels[:-1]))} or {config.levels[-1]} tokens out of a codebook of "
        f"{config.quantizer.codebook_size}, so a clip takes {shortest} to {longest}. A block's tokens and its "
        f"reconstruction depend on no later block. It has {_millions(model)} weights (checksum {model.checksum})."
        f"{_ids(model)}{_router(model)}"
    )


def _ids(model: VideoTokenizer) -> str:
    ids_of = model.config.ids_of
    return "" if ids_of is None else f" Its ids are those of {ids_of}, from which its decoder alone was trained on."


def _router(model: VideoTokenizer) -> str:
    if model.router is None:
        return ""
    return (
        f" It carries a router (checksum {model.router.checksum}), which gives clips their lengths where nothing else "
        f"is asked for, at w_q {model.router.calibration.w_q:g}."
    )


def _use(model: VideoTokenizer) -> str:
    return (
        "## Use\n\n```python\nfrom evatok import VideoTokenizer\n\n"
        f'tokenizer = VideoTokenizer.from_pretrained("{model.name}")\n'
        'tokens = tokenizer.encode("in.mp4")  # tokenizer.decode(tokens) gives its frames back\n```\n\n'
        "`from_pretrained` takes the name of a tokenizer that ships with evatok, the path of this folder, or the "
        "id of a hub's repository."
    )


def _training(training: TrainingRecord) -> str:
    clips, sources = training.config["data"]["clips"], training.config["data"]["train"]
    rows = [
        ["steps", f"{training.steps:,}" + (f", {training.skipped:,} of them left out" if training.skipped else "")],
        ["clips seen", f"{training.clips:,}"],
        ["time", duration(training.seconds) + (f" on {training.machine}" if training.machine else "")],
        ["seed", str(training.seed)],
        ["trained areas", _areas(clips)],
    ]
    if training.config["init_from"]:
        rows.insert(0, ["began with", f"`{training.config['init_from']}`"])
    rows += _stage4(training.config)
    numbers = table(["", "value"], rows)
    total = sum(source["weight"] for source in sources)
    data = "\n".join(f"- {source['weight'] / total:.0%}: {described_source(source)}" for source in sources)
    remarks = f"{training.remarks}\n\n" if training.remarks else ""
    config = yaml.safe_dump(training.config, sort_keys=False, default_flow_style=None, width=100)
    return (
        f"## Training\n\n{numbers}\n\n{remarks}Data, by their share of the clips:\n\n{data}\n\n"
        f"<details><summary>The whole configuration</summary>\n\n```yaml\n{config}```\n\n</details>"
    )


def _stage4(config: Mapping[str, Any]) -> list[list[str]]:
    """Who gave clips their lengths, and what was trained beside the tokenizer; nothing of a plain proxy."""
    rows = []
    if lengths := config.get("lengths"):
        known = {
            "router": "those of the router",
            "best_fixed": "the best fixed ones by the router",
            "uniform": "the best uniform ones by the router",
        }
        w_q = lengths["w_q"]
        asked = " to ".join(f"{each:g}" for each in (w_q if isinstance(w_q, list | tuple) else [w_q]))
        rows.append(["lengths of clips", f"{known[lengths['by']]} `{lengths['router']}`, at w_q {asked}"])
    if config.get("discriminator"):
        rows.append(["discriminator", f"of patches, weight {config['discriminator']['loss']['weight']:g}"])
    if semantic := config.get("semantic"):
        name, weight = semantic["model"]["encoder"]["name"], semantic["loss"]["weight"]
        rows.append(["semantic discriminator", f"by {name}, weight {weight:g}"])
    if alignment := config.get("alignment"):
        name, weight = alignment["model"]["teacher"]["name"], alignment["model"]["weight"]
        rows.append(["alignment", f"with {name}, weight {weight:g}"])
    return rows


def _learning(model: VideoTokenizer, training: TrainingRecord) -> list[str]:
    """Held-out PSNR and LPIPS by clips seen, at the longest length of the default assignment; nothing without them."""
    length = max(model.config.default_assignment)
    last = training.validations[-1]["scalars"] if training.validations else {}
    names = [name.removesuffix(f"/psnr/{length}") for name in last if name.endswith(f"/psnr/{length}")]
    if not names:
        return []
    rows = [[f"{each['clips']:,}", *_reached(each["scalars"], names, length)] for each in training.validations]
    text = f"PSNR / LPIPS of a few held-out clips at {length} tokens a block, by the clips seen in training:"
    return [f"## Learning\n\n{text}\n\n{table(['clips', *names], rows)}"]


def _reached(scalars: Mapping[str, float], names: Sequence[str], length: int) -> list[str]:
    return [f"{scalars[f'{name}/psnr/{length}']:.2f} / {scalars[f'{name}/lpips/{length}']:.4f}" for name in names]


def _areas(clips: Mapping[str, Any]) -> str:
    shares = [weight / sum(clips["size_weights"]) for weight in clips["size_weights"]]
    sizes = [
        f"{height}×{width} ({share:.0%})"
        for (height, width), share in zip(clips["sizes"], shares, strict=True)
        if share
    ]
    return f"{clips['frames']} frames of {', '.join(sizes)}"


def described_source(source: Mapping[str, Any]) -> str:
    """A source's config in words, with the credit that its kind is due."""
    if "games" in source:
        games = "all Atari 2600 games" if source["games"] == "all" else f"the games {', '.join(source['games'])}"
        return f"{games}, random play with {_seeds(source)}, rendered by the Arcade Learning Environment"
    if "doom" in source:
        walked = "all its scenarios and Freedoom's maps" if source["doom"] == "all" else ", ".join(source["doom"])
        return f"scripted walks in ViZDoom ({walked}) with {_seeds(source)}; art of Freedoom"
    if "scenes" in source:
        name = f" ({source['name']})" if source["name"] else ""
        over = f", with cut-outs of `{source['cutouts']}` that move over them" if source["cutouts"] else ""
        return f"views that move over the pictures and videos of `{source['scenes']}`{name}{over}"
    if "folder" in source:
        name = f" ({source['name']})" if source["name"] else ""
        return f"videos of the folder `{source['folder']}`{name}"
    if "shards" in source:
        return f"videos of the shards `{source['shards']}`"
    return f"the video `{source['file']}`"


def _seeds(source: Mapping[str, Any]) -> str:
    first, after = source["seeds"]
    return f"seeds {first} to {after - 1}" if after - first > 1 else f"seed {first}"


def _validation(record: EvaluationRecord) -> str:
    height, width = record.size
    sources = "\n".join(
        f"- {source.name}: {source.clips} clips of {described_source(source.config)} "
        f"(keys of the clips: SHA-256 {source.keys_sha256[:16]}…)"
        for source in record.sources
    )
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    commit = f", commit {record.commit}" if record.commit else ""
    credits = f"\n\nCredits: {'; '.join(record.credits)}." if record.credits else ""
    result = record.result
    return (
        f"## Numbers on the {record.split} clips\n\n"
        f"{scores_table(result)}\n\n{codes_sentence(result)} {order_sentence(result)}\n\n"
        f"{_against_x264(record)}{_by_block(record)}"
        f"Protocol: {result.protocol}. Clips are {record.frames} frames, {record.frame_step} apart, "
        f"{height}×{width}, largest centre crops, their first frames by seed {record.seed}:\n\n{sources}\n\n"
        f"The command that made these numbers ({record.date}, {versions}{commit}):\n\n"
        f"```sh\n{record.command}\n```{credits}"
    )


def _against_x264(record: EvaluationRecord) -> str:
    if record.x264 is None:
        return ""
    return (
        "Beside x264 at no more bits than the tokens take:\n\n"
        f"{x264_table(record.result, record.x264)}\n\n{x264_sentence(record.x264)}\n\n"
    )


def _by_block(record: EvaluationRecord) -> str:
    blocks = blocks_table(record.result)
    return f"<details><summary>PSNR / LPIPS by block</summary>\n\n{blocks}\n\n</details>\n\n" if blocks else ""


def _limits(model: VideoTokenizer, training: TrainingRecord) -> str:
    return (
        "## Limits\n\n"
        f"These are the numbers of a model of {_millions(model)} weights that has seen {training.clips:,} clips "
        "of the sources above. They compare its own lengths and versions; published numbers are of other sizes, "
        "other data and other protocols. Sizes far from the trained areas, and pictures unlike the training data, "
        "come out worse. A longer video is coded clip by clip, so motion may jump where one clip ends and the "
        "next begins."
    )


def _millions(model: VideoTokenizer) -> str:
    return f"{sum(weight.numel() for weight in model.parameters()) / 1e6:.2f}M"


def duration(seconds: float) -> str:
    """Seconds in words."""
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
