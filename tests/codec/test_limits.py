"""Token files that ask for more than is plausible, on the command line."""

from pathlib import Path

import pytest
import torch

from evatok.cli import main
from evatok.tokens.tokens import Tokens, VideoRecord
from evatok.video.reading import read_video
from tests.conftest import MINI, random_tokenizer


def test_decode_takes_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, path, back = random_tokenizer(MINI), tmp_path / "large.tokens", tmp_path / "back.mp4"
    model.save_pretrained(tmp_path / "model")
    size = (16, 1100)
    fit = {"mode": "keep", "source": size, "size": (8, 8), "box": (0, 0, *size), "inner": (0, 0, 8, 8)}
    ids, lengths = torch.zeros(4, dtype=torch.int32), torch.tensor([[4, 0, 0, 0]])
    Tokens(model.token_format, (VideoRecord(2, 24, size, fit),), ids, lengths).save(path)
    words = ["decode", str(path), "-o", str(back), "--tokenizer", str(tmp_path / "model")]
    assert main([*words, "--limits.pixels", "17599"]) == 1
    said = capsys.readouterr().err
    assert "large.tokens" in said and "17600, above the 17599 of limits.pixels" in said and not back.exists()
    assert main([*words, "--limits.pixels", "17600"]) == 0
    assert read_video(back).frames.shape == (2, 3, *size)
