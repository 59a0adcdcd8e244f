"""Quality over tokens on held-out clips: every strategy over its sweep, and what adapting saves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from matplotlib.figure import Figure

from evatok.allocation.calibration import BEAM_WIDTHS
from evatok.evaluation.comparison import Draws, compare_curves, share_of
from evatok.evaluation.strategies import Curve, by_beam, strategies
from evatok.figures.curve import Line, curve_figure
from evatok.figures.tokens import save_png
from evatok.reports.judging import JudgingConfig, judged
from evatok.reports.record import provenance, read_json
from evatok.search.table import SearchTable
from evatok.utils.files import replacing, write_json
from evatok.utils.tables import Table

# What every strategy is compared with: one length for everything, and the best fixed assignments.
REFERENCES = ("uniform", "mean reward")


def curve(config: JudgingConfig) -> Path:
    """Writes `curve.parquet` (operating points), `curve.json` (comparisons) and `curve.png`, and prints a table.

    Each is for all clips and for each source's. Returns the path of `curve.json`.

    Raises what `judged` raises.
    """
    folder = Path(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = judged(config)
    all_of_them = strategies(found.predictions, found.truth.space, found.reward)
    led = [each for each in found.predictions if each.values is not None]
    all_of_them += [by_beam(each, found.truth, found.reward, width) for each in led for width in BEAM_WIDTHS]
    curves = [Curve.measured(each, found.truth) for each in all_of_them]
    groups = {name: [each.of_clips(rows) for each in curves] for name, rows in found.groups.items()}
    points = [
        {"source": name, **point}
        for name, some in groups.items()
        for each in some
        for point in _points(each, found.truth)
    ]
    with replacing(folder / "curve.parquet") as temporary:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(points), temporary)
    comparisons = {name: _compared(some, config) for name, some in groups.items()}
    counts = {name: len(rows) for name, rows in found.groups.items()}
    record = {**provenance(), **found.about, "config": asdict(config), "clips_of": counts, "sources": comparisons}
    write_json(folder / "curve.json", record)
    draw(folder)
    print("\n\n".join(str(savings_table(name, found)) for name, found in comparisons.items()))
    return folder / "curve.json"


def _compared(curves: Sequence[Curve], config: JudgingConfig) -> dict[str, Any]:
    """Comparisons of every curve with both references, and how much of the search's saving over `mean` each keeps."""
    by_name = {each.strategy.name: each for each in curves}
    draws = Draws(curves[0].tokens.shape[1], config.draws, config.seed)
    comparisons = [
        compare_curves(each, by_name[reference], draws)
        for reference in REFERENCES
        for each in curves
        if each.strategy.name != reference
    ]
    shares = {
        each.strategy.name: share_of(each, by_name["search reward"], by_name["mean reward"], draws)
        for each in curves
        if each.strategy.rule == "reward" and each.strategy.predictor not in ("search", "mean")
    }
    return {
        "comparisons": [asdict(each) for each in comparisons],
        "share_of_search_over_mean": {name: asdict(share) for name, share in shares.items()},
    }


def _points(curve: Curve, truth: SearchTable) -> Iterator[dict[str, Any]]:
    """Means over clips at each setting; bits with those that name the lengths, as `Tokens.bits` has them."""
    space = truth.space
    id_bits, level_bits = (truth.made_by["codes"] - 1).bit_length(), (len(space.levels) - 1).bit_length()
    for number, setting in enumerate(curve.strategy.settings):
        tokens = float(curve.tokens[number].mean())
        yield {
            "predictor": curve.strategy.predictor,
            "rule": curve.strategy.rule,
            "setting": float(setting),
            "tokens": tokens,
            "bits": tokens * id_bits + space.blocks * level_bits,
            "lpips": float(curve.lpips[number].mean()),
            "psnr": float(curve.psnr[number].mean()),
        }


def draw(folder: Path) -> Path:
    """Writes `curve.png` from the `curve.json` and `curve.parquet` beside it; returns its path."""
    record = read_json(folder / "curve.json")
    points = pyarrow.parquet.read_table(folder / "curve.parquet").to_pylist()
    save_png(figure_of(record, points), folder / "curve.png")
    return folder / "curve.png"


def figure_of(record: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> Figure:
    """The figure of a curve that was measured.

    Args:
        record: what `curve.json` holds.
        points: the rows of `curve.parquet`.
    """
    lines: dict[str, dict[tuple[str, str], list[Mapping[str, Any]]]] = {}
    for point in points:
        of_source = lines.setdefault(point["source"], {})
        of_source.setdefault((point["predictor"], point["rule"]), []).append(point)
    rows = {
        f"{source}, {record['clips_of'][source]} clips": [_line(*name, some) for name, some in of_source.items()]
        for source, of_source in lines.items()
    }
    made_by = record["held_out"]
    title = f"Held-out clips, {made_by['tokenizer']}: quality over tokens by predictor and rule"
    return curve_figure(title, [f"LPIPS ({made_by['lpips_net']}) ↓", "PSNR in dB ↑"], rows)


def _line(predictor: str, rule: str, points: Sequence[Mapping[str, Any]]) -> Line:
    tokens, lpips, psnr = ([point[name] for point in points] for name in ("tokens", "lpips", "psnr"))
    return Line(predictor or rule, tokens, (lpips, psnr), rule=rule if predictor else "")


def savings_table(name: str, found: Mapping[str, Any]) -> Table:
    """BD-tokens of the strategies against both references, on the clips of a source, as `curve.json` has them."""
    by_strategy: dict[str, dict[str, Any]] = {}
    for each in found["comparisons"]:
        by_strategy.setdefault(each["strategy"], {})[each["reference"]] = each
    rows = [
        (strategy, *(_cell(against[each]) if each in against else "" for each in REFERENCES))
        for strategy, against in by_strategy.items()
    ]
    return Table((f"clips: {name}", *(f"saved against {each}, overlap" for each in REFERENCES)), rows)


def _cell(comparison: Mapping[str, Any]) -> str:
    bd = comparison["bd_tokens"]
    if bd["value"] is None:
        return "nothing in common"
    interval = "" if bd["low"] is None else f" [{bd['low']:.1f}, {bd['high']:.1f}]"
    return f"{bd['value']:.1f} %{interval}, {100 * comparison['overlap']:.0f} %"
