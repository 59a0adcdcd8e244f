"""The benchmark of sampling runs, on little, and its record holds what it should."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import sampling
from evatok.assignment import AssignmentSpace
from evatok.generator.cached import CompiledLlama
from evatok.generator.model import VideoGenerator


def test_all_ways_write_the_same_lengths(
    generator: VideoGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(sampling, "copied_bytes", lambda device: 1e9)
    # A real compiler takes minutes.
    monkeypatch.setattr("evatok.generator.model.CompiledLlama", partial(CompiledLlama, backend="eager"))
    words = f"--model {tmp_path / 'model'} --videos 5 --rows 2 --mean 16 --repeats 1 --out {tmp_path / 'out.json'}"
    monkeypatch.setattr(
        "sys.argv",
        ["sampling", *words.split(), "--compile", "--device", "cpu", "--threads", str(torch.get_num_threads())],
    )
    sampling.main()
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["videos"] == 5 and record["side_by_side"] == 2 and len(record["rows"]) == 12
    assert [row["by"] for row in record["rows"]].count("evatok, compiled") == 3
    for row in record["rows"]:
        assert row["tokens a video"] == (32 if "longest" in row["lengths"] else 16)
        assert row["tokens/s"] == pytest.approx(row["videos/s"] * row["tokens a video"])
        assert row["by"] == "decoding" or 0 < row["share of the limit"] < 1
    assert [row["share of the limit"] for row in record["rows"] if row["by"] == "decoding"] == ["-"] * 3


def test_varied_lengths_come_to_their_mean() -> None:
    lengths = sampling.varied(AssignmentSpace((8, 16, 32, 64, 128), 4), 20, 128, torch.Generator().manual_seed(0))
    assert lengths.shape == (20, 4) and int(lengths.sum()) == 20 * 128
    assert len({tuple(row) for row in lengths.tolist()}) > 10


def test_the_limit_of_one_video(generator: VideoGenerator) -> None:
    """Of 20 tokens: 20 times the weights of 2 layers and the head, and keys and values of 1, 2, and so on to 20."""
    lengths = torch.tensor([[4, 4, 4, 4]])
    layer = 4 * 64 * 64 + 3 * 64 * 256 + 2 * 64
    weights, known = 2 * layer + 64 * 70, 2 * 2 * 64
    expected = 4 * (20 * weights + 210 * known) / 1e6
    assert sampling.least_seconds(generator, lengths, 1, 1e6) == pytest.approx(expected)
    assert sampling.least_seconds(generator, lengths.repeat(2, 1), 2, 1e6) < 2 * expected
