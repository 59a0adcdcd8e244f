"""Cards of results, and the tables that take only what compares."""

from dataclasses import replace
from typing import Any

import pytest

from evatok.evaluation.result_card import Network, Protocol, ResultCard, cards_table, protocol_line

PROTOCOL = Protocol(
    task="generation",
    metric="FVD",
    network=Network("i3d", "ab" * 32),
    real_split="training split",
    real_sha256="12" * 32,
    real_clips=100,
    fake_clips=100,
    frames=16,
    frame_step=1,
    fps=25.0,
    size=(128, 128),
    measured_size=(128, 128),
    resize="bilinear",
)
CARD = ResultCard(
    PROTOCOL,
    {"fvd": 98.25, "kvd": -0.5, "fvd_floor": None},
    tokenizer=("evatok", "1"),
    generator=("gpt", "2"),
    tokens=740.4,
    sampling={"guidance": 2.5},
    trained_by=("lpips-vgg", "MCG-NJU/videomae-base"),
    sources=[],
    command="evatok evaluate generation",
    date="2026-01-01",
)


def test_numbers_of_one_protocol_stand_side_by_side() -> None:
    other = replace(CARD, numbers={"fvd": 62.0, "kvd": 1.0}, tokens=None, sampling={"guidance": 1.75}, commit="abc")
    text = cards_table([("B", [CARD]), ("L", [other])], ["fvd", "kvd"])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["", "tokens a clip", "fvd", "kvd"]
    assert rows[2:] == [["B", "740", "98.25", "-0.5"], ["L", "?", "62", "1"]]
    assert text.endswith(f"\n\nfvd, kvd: {protocol_line(PROTOCOL)}") and "*" not in text
    assert "–" in cards_table([("B", [CARD])], ["fvd_floor"])


@pytest.mark.parametrize(
    "other",
    [
        {"task": "reconstruction"},
        {"metric": "KVD"},
        {"network": Network("i3d", "cd" * 32)},
        {"real_split": "test split"},
        {"real_sha256": "34" * 32},
        {"real_clips": 99},
        {"fake_clips": 2048},
        {"frames": 17},
        {"frame_step": 2},
        {"fps": None},
        {"size": (64, 64)},
        {"measured_size": (64, 64)},
        {"resize": "bicubic"},
        {"given_frames": 5},
        {"stored": "as H.264"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_numbers_of_two_protocols_do_not(other: dict[str, Any]) -> None:
    [name] = other
    foreign = replace(CARD, protocol=replace(PROTOCOL, **other))
    with pytest.raises(
        ValueError, match=f"fvd of B and of L cannot stand in one column: they differ in {name} "
    ) as said:
        cards_table([("B", [CARD]), ("L", [foreign])], ["fvd"])
    assert ";" not in str(said.value)
    # Columns of their own may each have a protocol of their own.
    assert cards_table([("B", [CARD, replace(foreign, numbers={"psnr": 1.0})])], ["fvd", "psnr"])


def test_a_number_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="B has 0 numbers called lpips; there are fvd, kvd, fvd_floor"):
        cards_table([("B", [CARD])], ["lpips"])
    with pytest.raises(ValueError, match="B has 2 numbers called fvd"):
        cards_table([("B", [CARD, CARD])], ["fvd"])


@pytest.mark.parametrize(
    ("network", "trained_by", "biased"),
    [
        (Network("i3d", ""), ("lpips-vgg", "MCG-NJU/videomae-base"), False),
        (Network("lpips-vgg", ""), ("lpips-vgg",), True),
        (Network("lpips-alex", ""), ("lpips-vgg",), False),
        (Network("MCG-NJU/videomae-base", ""), ("lpips-vgg", "MCG-NJU/videomae-base"), True),
        (Network("efficientnet-lite0", ""), None, False),
        (None, ("lpips-vgg",), False),
    ],
)
def test_a_network_that_was_in_a_loss_is_marked(
    network: Network | None, trained_by: tuple[str, ...] | None, biased: bool
) -> None:
    card = replace(CARD, protocol=replace(PROTOCOL, network=network), trained_by=trained_by)
    text = cards_table([("B", [card])], ["fvd"])
    assert ("98.25*" in text and "* measured by a network that was in a loss" in text) == biased
