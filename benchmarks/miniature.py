"""What `make reproduce` ends with: the miniature's numbers beside the paper's, ratio by ratio, as a record and a page.

    python -m benchmarks.miniature --runs runs/miniature --out docs/results/miniature.json \
        --figure docs/results/miniature-curve.png --page docs/reproduction.md

It computes nothing anew: it reads what the steps of benchmarks/miniature.mk have written.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyarrow import parquet

from benchmarks.common import environment
from evatok.figures.tokens import save_png
from evatok.reports.curve import figure_of
from evatok.reports.generated import read_cards
from evatok.reports.record import read_json
from evatok.utils.files import replacing, write_json
from evatok.utils.tables import table

W_Q = "1.2"
PAGE = Path(__file__).with_name("miniature.md")


@dataclass(frozen=True)
class Gain:
    """Something that the paper says is gained, and what came of it here; gains are above 0.

    Args:
        what: is compared.
        unit: of the gain.
        paper: the paper's gain.
        paper_numbers: from which it follows.
        here: ours.
        numbers: from which it follows.
        interval: of 95 %, where there is one.
        overlap: whether the intervals of the two that are compared overlap.
    """

    what: str
    unit: str
    paper: float
    paper_numbers: str
    here: float
    numbers: str
    interval: tuple[float, float] | None = None
    overlap: bool = False

    @property
    def verdict(self) -> str:
        """Whether both point one way, and whether chance may have pointed ours."""
        same = "the same way" if self.here * self.paper > 0 else "the other way"
        if self.overlap:
            return f"{same}, by chance perhaps: the two intervals overlap"
        if self.interval is None:
            return f"{same} (no interval)"
        low, high = self.interval
        return f"{same}, by chance perhaps: the interval holds 0" if low <= 0 <= high else same


def fewer(ours: float, theirs: float) -> float:
    """Percent by which ours is below theirs."""
    return 100 * (1 - ours / theirs)


class Runs:
    """The records of the steps.

    Args:
        folder: of the miniature's runs.

    Raises:
        RecordError: a step has not left its record.
    """

    def __init__(self, folder: Path) -> None:
        self.steps = {path.stem: read_json(path) for path in sorted((folder / "done").glob("*.json"))}
        self.curve = read_json(folder / "curve" / "curve.json")
        self.curve_points = parquet.read_table(folder / "curve" / "curve.parquet").to_pylist()
        self.percentiles = read_json(folder / "curve" / "router-report.json")["sources"]["all"]["scores"][W_Q]
        self.tokenizers = read_json(folder / "tokenizers.json")
        kinds = ("final", "uniform")
        self.generation = {kind: read_json(folder / f"generation-{kind}" / "generation.json") for kind in kinds}
        self.reconstruction = {kind: _cards(folder / f"reconstruction-{kind}" / "cards.json") for kind in kinds}

    def saved(self, one: str, other: str) -> tuple[float, tuple[float, float]]:
        """Percent of the tokens that one saves over another at equal LPIPS, with its interval."""
        row = next(each for each in self.tokenizers["comparisons"] if (each["of"], each["over"]) == (one, other))
        return row["saved, %"], (row["from"], row["to"])

    def point(self, tokenizer: str, by: str) -> dict[str, Any]:
        """Tokens, PSNR and LPIPS of a tokenizer, at w_q 1.2 or at a uniform length."""
        points = self.tokenizers["points"]
        return next(each for each in points if (each["tokenizer"], each["lengths by"]) == (tokenizer, by))

    def saved_by_router(self) -> tuple[float, tuple[float, float]]:
        """Percent of the tokens that the router saves over uniform lengths with the proxy, at equal LPIPS."""
        found = self.curve["sources"]["all"]["comparisons"]
        row = next(each for each in found if (each["strategy"], each["reference"]) == ("regression reward", "uniform"))
        return row["bd_tokens"]["value"], (row["bd_tokens"]["low"], row["bd_tokens"]["high"])


def _cards(path: Path) -> dict[str, float]:
    """The numbers of a tokenizer's cards under one way of giving lengths: tokens, fvd, psnr, lpips and so on."""
    cards = read_cards(path)
    numbers = [(name, value) for card in cards for name, value in (("tokens", card.tokens), *card.numbers.items())]
    return {name: value for name, value in numbers if value is not None}


def gains(runs: Runs) -> list[Gain]:
    """Every ratio of the paper that the miniature has too."""
    saved, interval = runs.saved("final by router", "uniform by uniform")
    proxy_saved, proxy_interval = runs.saved_by_router()
    proxy, final = runs.point("proxy", "router"), runs.point("final", "router")
    ahead, ahead_interval = runs.saved("final by router", "proxy by router")
    router, uniform = (runs.percentiles[name]["percentile"] for name in ("regression", "best uniform of each clip"))
    adaptive, same = (runs.generation[kind]["card"] for kind in ("final", "uniform"))
    seen, plain = runs.reconstruction["final"], runs.reconstruction["uniform"]
    return [
        Gain(
            "tokens saved at equal quality: final tokenizer under its router, over one of uniform lengths",
            "%",
            29.6,
            "721 against 1024 tokens, LPIPS 0.1068 against 0.1056 (WebVid)",
            saved,
            f"at equal LPIPS, over all preferences, {runs.tokenizers['clips']} held-out clips",
            interval,
        ),
        Gain(
            "the same with the proxy tokenizer alone",
            "%",
            56,
            "at equal rFVD (WebVid; 42 % on UCF-101)",
            proxy_saved,
            "at equal LPIPS, the same clips",
            proxy_interval,
        ),
        Gain(
            "percentile of the reward: router over each clip's best uniform length",
            "points",
            96.96 - 84.88,
            "96.96 against 84.88 (WebVid)",
            router - uniform,
            f"{router:.1f} against {uniform:.1f}",
        ),
        Gain(
            "LPIPS, final tokenizer over the proxy after as many steps, both under the router",
            "% lower",
            fewer(0.1068, 0.1182),
            "0.1068 against 0.1182, PSNR 27.68 against 27.05 (400,000 steps each)",
            fewer(final["lpips"], proxy["lpips"]),
            f"{final['lpips']:.4f} against {proxy['lpips']:.4f}, PSNR {final['psnr']:.2f} against {proxy['psnr']:.2f}",
        ),
        Gain(
            "the same in tokens at equal LPIPS",
            "%",
            fewer(0.1068, 0.1182),
            "sign only: the paper has no such number",
            ahead,
            "over all preferences",
            ahead_interval,
        ),
        Gain(
            "rFVD, final tokenizer under its router over one of uniform lengths",
            "% lower",
            fewer(33, 63),
            "33 against 63, with 29.6 % fewer tokens (WebVid)",
            fewer(seen["fvd"], plain["fvd"]),
            f"{_fvd(seen)} against {_fvd(plain)}, {fewer(seen['tokens'], plain['tokens']):.0f} % fewer tokens, LPIPS "
            f"{seen['lpips']:.3f} against {plain['lpips']:.3f}",
            overlap=_overlap(seen, plain),
        ),
        Gain(
            "tokens of generated videos: adaptive over uniform",
            "% fewer",
            fewer(740, 1024),
            "740 against 1024 (UCF-101, 99M)",
            fewer(adaptive["tokens"], same["tokens"]),
            f"{adaptive['tokens']:.0f} against {same['tokens']:.0f}",
        ),
        Gain(
            "gFVD of these",
            "% lower",
            fewer(96, 98),
            "96 against 98",
            fewer(adaptive["numbers"]["fvd"], same["numbers"]["fvd"]),
            f"{_fvd(adaptive['numbers'])} against {_fvd(same['numbers'])}",
            overlap=_overlap(adaptive["numbers"], same["numbers"]),
        ),
    ]


def _fvd(numbers: dict[str, float]) -> str:
    return f"{numbers['fvd']:.0f} [{numbers['fvd_low']:.0f}, {numbers['fvd_high']:.0f}]"


def _overlap(one: dict[str, float], other: dict[str, float]) -> bool:
    return one["fvd_low"] <= other["fvd_high"] and other["fvd_low"] <= one["fvd_high"]


def _interval(gain: Gain) -> str:
    return "" if gain.interval is None else " [{:.1f}, {:.1f}]".format(*gain.interval)


def page(runs: Runs, found: list[Gain]) -> str:
    """The page in Markdown: the text of miniature.md with the tables in it."""
    ratios = table(
        ["what is gained", "paper", "here", "points"],
        [
            [
                each.what,
                f"{each.paper:.3g} {each.unit}: {each.paper_numbers}",
                f"**{each.here:.1f}**{_interval(each)} {each.unit}: {each.numbers}",
                each.verdict,
            ]
            for each in found
        ],
    )
    points = table(
        ["tokenizer", "lengths by", "tokens", "PSNR", "LPIPS"],
        [
            [
                each["tokenizer"],
                each["lengths by"],
                f"{each['tokens']:.1f}",
                f"{each['psnr']:.2f}",
                f"{each['lpips']:.4f}",
            ]
            for each in runs.tokenizers["points"]
        ],
    )
    compared = table(
        ["of", "over", "tokens saved at equal LPIPS"],
        [
            [each["of"], each["over"], f"{each['saved, %']:.1f} % [{each['from']:.1f}, {each['to']:.1f}]"]
            for each in runs.tokenizers["comparisons"]
        ],
    )
    generators = table(
        ["lengths", "tokens a video", "seconds a video", "FVD", "KVD", "class found"],
        [
            [
                {"final": "adaptive", "uniform": "uniform"}[kind],
                f"{each['card']['tokens']:.1f}",
                f"{each['seconds_per_video']:.3f}",
                _fvd(each["card"]["numbers"]),
                f"{each['card']['numbers']['kvd']:.1f} ± {each['card']['numbers']['kvd_std']:.1f}",
                f"{each['agreement']['generated']:.0%}",
            ]
            for kind, each in runs.generation.items()
        ],
    )
    steps = table(
        ["step", "minutes", "of processor time"],
        [
            [name, f"{each['seconds'] / 60:.1f}", f"{each['processor_seconds'] / 60:.1f}"]
            for name, each in runs.steps.items()
        ],
    )
    of_all = list(runs.steps.values())
    return PAGE.read_text(encoding="utf-8").format(
        ratios=ratios,
        points=points,
        compared=compared,
        generators=generators,
        steps=steps,
        hours=f"{sum(each['processor_seconds'] for each in of_all) / 3600:.1f}",
        commits=", ".join(sorted({str(each["commit"])[:12] for each in of_all})),
        device=", ".join(sorted({each["device"] for each in of_all})),
    )


def main() -> None:
    """Writes the record and the page, prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the miniature's runs")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the record")
    parser.add_argument("--figure", type=Path, required=True, help="PNG file for quality over tokens")
    parser.add_argument("--page", type=Path, required=True, help="Markdown file")
    given = parser.parse_args()
    runs = Runs(given.runs)
    found = gains(runs)
    gained = [{**asdict(each), "verdict": each.verdict} for each in found]
    parts = {
        name: getattr(runs, name) for name in ("steps", "tokenizers", "percentiles", "generation", "reconstruction")
    }
    write_json(given.out, {**environment(), "gains": gained, **parts})
    save_png(figure_of(runs.curve, [each for each in runs.curve_points if each["source"] == "all"]), given.figure)
    text = page(runs, found)
    with replacing(given.page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
