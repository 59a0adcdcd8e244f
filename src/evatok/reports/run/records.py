"""Sections of single files: what each is follows from what is in it, whatever it is called."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet

from evatok.evaluation.result_card import ResultCard
from evatok.figures.confusion import confusion_figure
from evatok.figures.curve import strategies_figure
from evatok.figures.embedded import png_uri, svg_uri
from evatok.figures.steps import Steps, steps_figure
from evatok.reports.curve import figure_of, savings_table
from evatok.reports.generation import SHEET
from evatok.reports.judging import ALL
from evatok.reports.record import EvaluationRecord
from evatok.reports.router_report import percentiles_table
from evatok.reports.run.page import Cells, Facts, Folded, Gallery, Heading, Part, Picture, Section, Text
from evatok.reports.run.training import training_section
from evatok.reports.tables import (
    blocks_table,
    codes_sentence,
    order_sentence,
    scores_table,
    x264_sentence,
    x264_table,
)
from evatok.utils.configs import from_dict
from evatok.utils.tables import Table

Entries = Mapping[str, Any]


def cards_in(entries: Any) -> list[ResultCard]:
    """The cards in a file of cards, of a generation or of a prediction; none in any other.

    Raises:
        TypeError, ValueError: they are not what cards are.
    """
    if isinstance(entries, dict):
        entries = entries.get("cards", [entries["card"]] if "card" in entries else [])
    if not isinstance(entries, list):
        return []
    return [from_dict(ResultCard, each) for each in entries if isinstance(each, dict) and "protocol" in each]


def record_section(path: Path, entries: Any, place: str) -> Section | None:
    """The section of a JSON file; None of one that has none of its own.

    Raises:
        ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError: it is damaged.
    """
    if not isinstance(entries, dict):
        return None
    if {"validations", "clips", "seconds", "config"} <= entries.keys():
        return training_section(path, place)
    for keys, (title, make) in _KINDS.items():
        if set(keys) <= entries.keys():
            return Section(title.format(path.stem), place, [*make(path, entries)])
    return None


def _provenance(entries: Entries) -> dict[str, str]:
    """What made a record, as far as it says so."""
    rows = {name: str(entries[name]) for name in ("command", "date", "commit") if entries.get(name)}
    return rows | {name: str(version) for name, version in entries.get("versions", {}).items()}


def _evaluation(path: Path, _: Entries) -> Iterator[Part]:
    record = EvaluationRecord.read(path)
    result, (height, width) = record.result, record.size
    clips = ", ".join(f"{source.clips} of {source.name}" for source in record.sources)
    rows = {"tokenizer": f"{record.tokenizer} ({record.checksum})", "split": record.split, "clips": clips}
    rows |= {"form": f"{record.frames} frames, {record.frame_step} apart, {height}×{width}", "seed": str(record.seed)}
    rows |= {"protocol": result.protocol} | _provenance(vars(record))
    yield Facts(rows | ({"credits": "; ".join(record.credits)} if record.credits else {}))
    yield Gallery([*_quality(record)])
    yield Cells(scores_table(result))
    yield Text(f"{codes_sentence(result)} {order_sentence(result)}")
    if record.x264 is None:
        yield Text("x264 was not measured beside it.", missing=True)
    else:
        yield Cells(x264_table(result, record.x264), x264_sentence(record.x264))
    if blocks := blocks_table(result):
        yield Cells(blocks, "PSNR / LPIPS by block", folded=True)


def _quality(record: EvaluationRecord) -> Iterator[Picture]:
    """Quality over tokens by source at uniform lengths."""
    for metric, name in (("lpips", f"LPIPS ({record.lpips_net}) ↓"), ("psnr", "PSNR in dB ↑")):
        lines = []
        for source in record.result.sources:
            uniform = [scores for scores in source.scores if scores.uniform]
            values = [getattr(scores, metric) for scores in uniform]
            lines += [Steps(source.name, [scores.tokens for scores in uniform], values)] if uniform else []
        if lines:
            title = f"{name} at uniform lengths"
            yield Picture(svg_uri(steps_figure(title, lines, x="tokens a clip")), title)


def _curve(path: Path, entries: Entries) -> Iterator[Part]:
    made_by = entries["held_out"]
    rows = {"tokenizer": f"{made_by['tokenizer']} ({made_by['checksum']})", "held-out clips": str(entries["clips"])}
    rows |= {"routers": ", ".join(f"{name}: {where}" for name, where in entries["config"]["routers"].items())}
    rows |= {"seed of the intervals": str(entries["config"]["seed"])}
    yield Facts(rows | _provenance(entries))
    points = path.with_suffix(".parquet")
    if points.exists():
        by_source: dict[str, list[dict[str, Any]]] = {}
        for point in pyarrow.parquet.read_table(points).to_pylist():
            by_source.setdefault(point["source"], []).append(point)
        for source, some in by_source.items():
            about = f"{source}: quality over tokens; the further to the left, the fewer tokens at the same quality"
            yield Picture(svg_uri(figure_of(entries, some)), about, wide=True)
    else:
        yield Text(f"{points.name}, which has the operating points, is not here: no figure.", missing=True)
    for source, found in entries["sources"].items():
        about = f"{source}: tokens saved at equal LPIPS (BD), 95 % of the draws of clips, and how far ranges overlap"
        yield Cells(savings_table(source, found), about, folded=source != ALL)


def _router_report(_: Path, entries: Entries) -> Iterator[Part]:
    made_by, whole = entries["held_out"], entries["sources"][ALL]["scores"]
    rows = {"tokenizer": f"{made_by['tokenizer']} ({made_by['checksum']})", "held-out clips": str(entries["clips"])}
    seconds = entries["seconds_a_clip"]
    rows |= {f"time of {name}": f"{1000 * took:.2f} ms a clip" for name, took in seconds.items()}
    yield Facts(rows | _provenance(entries))
    lines: dict[str, list[tuple[float, float]]] = {}
    for w_q, by in whole.items():
        for name, scores in by.items():
            lines.setdefault(name, []).append((float(w_q), scores["percentile"]))
    title = "percentile of the proxy reward on all clips, %"
    yield Picture(svg_uri(strategies_figure(title, "preference w_q", "percentile", lines)), title)
    for source, found in entries["sources"].items():
        yield Cells(percentiles_table(found["scores"]), f"{source}, {found['clips']} clips", folded=source != ALL)
    for name, found in entries["confusion"].items():
        nearest = min(whole, key=lambda w_q: abs(float(w_q) - found["w_q"]))
        if scores := whole[nearest].get(name):
            yield Heading(f"{name} at w_q {nearest}")
            numbers = {key: scores[key] for key in ("top1", "top5", "regret", "tokens", "lpips")}
            yield Facts({key: "–" if value is None else f"{value:.4g}" for key, value in numbers.items()})
        about = (
            f"{name}: clips by the level that is best for each block, and by the level picked, at w_q {found['w_q']:g}"
        )
        yield Picture(svg_uri(confusion_figure(found["levels"], found["by_block"])), about, wide=True)
    for name, asked in entries["budgets"].items():
        cells = [
            [f"{each['asked']:.1f}", *(f"{tokens:.1f}" for tokens in each["tokens_of_halves"]), f"{each['lpips']:.4f}"]
            for each in asked
        ]
        about = (
            f"{name}: what comes of asking for a mean number of tokens, each half of the videos by the other's price"
        )
        yield Cells(Table(["tokens asked for", "one half took", "the other", "LPIPS"], cells), about)


def _generation(path: Path, entries: Entries) -> Iterator[Part]:
    rows = {"generator": entries["config"]["generator"], "samples": str(entries["config"]["samples"])}
    rows["time"] = f"{entries['seconds_per_video']:.3g} s a video, on {entries['device']}"
    if entries["fvd_held_out"] is not None:
        rows[f"FVD of {entries['held_out_clips']} held-out real clips"] = f"{entries['fvd_held_out']:.4g}"
    if agreement := entries["agreement"]:
        rows["class found in held-out clips"] = f"{agreement['held_out']:.1%}"
        rows["class found in generated ones"] = f"{agreement['generated']:.1%} (by {agreement['classifier']})"
    yield Facts(rows | _provenance(entries["card"]))
    yield Cells(_lengths(entries["lengths"]), "Blocks by their tokens")
    yield from _sheet(path.with_name(SHEET))
    if agreement:
        found = sorted(agreement["by_class"].items(), key=lambda each: -each[1])
        yield Folded("Classes found", "\n".join(f"{share:4.0%}  {name}" for name, share in found))


def _lengths(counts: Mapping[str, Mapping[str, int]]) -> Table:
    levels = sorted({level for each in counts.values() for level in each}, key=int)
    rows = [
        [name, *(f"{each.get(level, 0) / sum(each.values()):.1%}" for level in levels)] for name, each in counts.items()
    ]
    return Table(["", *(f"{level} tokens" for level in levels)], rows)


def _sheet(path: Path) -> Iterator[Part]:
    if path.exists():
        about = "samples: a row a class, a real clip first, four instants of each"
        yield Picture(png_uri(path.read_bytes()), about, wide=True)
    else:
        yield Text(f"{path.name}, the sheet of samples, is not here.", missing=True)


def _prediction(_: Path, entries: Entries) -> Iterator[Part]:
    config = entries["config"]
    rows = {"generator": config["generator"], "given": f"{config['given']} frames"}
    rows["time"] = f"{entries['seconds_per_video']:.3g} s a video, on {entries['device']}"
    yield Facts(rows | _provenance(entries["cards"][0]))


def _benchmark(_: Path, entries: Entries) -> Iterator[Part]:
    """Any benchmark: its environment, its numbers, its tables; the rest as it stands."""
    plain = {name: value for name, value in entries.items() if not isinstance(value, dict | list)}
    yield Facts({name: str(value) for name, value in (entries["environment"] | plain).items()})
    left = {}
    for name, value in entries.items():
        if isinstance(value, list) and value and all(map(_is_flat, value)):
            header = list(dict.fromkeys(key for row in value for key in row))
            yield Cells(Table(header, [[_cell(row.get(key)) for key in header] for row in value]), name)
        elif isinstance(value, dict | list) and value and name != "environment":
            left[name] = value
    if left:
        yield Folded("The rest of the record", json.dumps(left, indent=1))


def _is_flat(row: Any) -> bool:
    return isinstance(row, dict) and not any(isinstance(value, dict | list) for value in row.values())


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


# Keys that a kind of record has and no other has all of; its title, which may have the file's name; its parts.
_KINDS: dict[tuple[str, ...], tuple[str, Callable[[Path, Entries], Iterator[Part]]]] = {
    ("result", "tokenizer", "checksum", "split"): ("Evaluation of a tokenizer", _evaluation),
    ("clips_of", "sources", "held_out"): ("Quality over tokens", _curve),
    ("confusion", "sources", "best_uniform"): ("Router report", _router_report),
    ("card", "lengths", "agreement"): ("Evaluation of a generator", _generation),
    ("cards", "seconds_per_video"): ("Evaluation of frame prediction", _prediction),
    ("environment",): ("Benchmark: {}", _benchmark),
}
