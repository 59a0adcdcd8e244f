"""The comparison of generators: which lengths it takes, and how it sums up its runs."""

import pytest

from benchmarks.generator_lengths import KINDS, REFERENCE, chosen, summary


def _row(kind: str, tokens: float, lpips: float) -> dict[str, object]:
    return {"kind": kind, "asked for": {"of": tokens}, "tokens": tokens, "lpips": lpips, "psnr": 20.0}


def test_fewest_tokens_that_are_as_good_as_uniform_lengths() -> None:
    found = chosen(
        [
            _row(REFERENCE, 128, 0.12),
            *(_row("router", tokens, lpips) for tokens, lpips in ((60, 0.13), (70, 0.12), (90, 0.10))),
            *(_row("beam 2", tokens, lpips) for tokens, lpips in ((80, 0.11), (60, 0.119), (50, 0.121))),
            *(_row("fixed", tokens, lpips) for tokens, lpips in ((56, 0.15), (80, 0.13))),
        ]
    )
    assert {kind: row["tokens"] for kind, row in found.items()} == {
        REFERENCE: 128,
        "router": 70,
        "beam 2": 60,
        "fixed": 80,  # none is as good: its best
    }
    assert list(found) == list(KINDS)


def test_summary_of_what_is_done() -> None:
    def run(kind: str, seed: int, fvd: float) -> dict[str, object]:
        return {
            "lengths": kind,
            "seed": seed,
            "tokens a video": 70.0 + seed,
            "fvd": fvd,
            "kvd": 30.0,
            "class found": 0.5,
        }

    rows = [_row(kind, 60, 0.12) for kind in KINDS]
    found = summary(
        [run("router", 0, 600.0), run("uniform", 0, 700.0), run("router", 1, 640.0)], chosen(rows), {"router": 0.1}
    )
    assert [(row["lengths"], row["seeds"]) for row in found] == [("uniform", 1), ("router", 2)]
    router = found[1]
    assert router["fvd"] == pytest.approx(620) and router["fvd, seeds"] == "600 to 640"
    assert router["tokens a video"] == 70.5 and router["seconds a video"] == 0.1 and found[0]["seconds a video"] is None
