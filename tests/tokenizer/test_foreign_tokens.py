"""Tokens that carry this model's checksum and yet are none of its own."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from evatok.tokenizer.model import TokenMismatch
from evatok.tokens.limits import TokenLimits
from evatok.tokens.tokens import Tokens, VideoRecord
from tests.conftest import MINI, random_tokenizer

MODEL = random_tokenizer(MINI)


def claiming(frames: int = 20, size: tuple[int, int] = (32, 32), **changes: Any) -> Tokens:
    """Tokens of one video, each block as short as may be, of a format that differs from the model's in `changes`."""
    form = replace(MODEL.token_format, **changes)
    lengths = form.block_mask([frames]).long() * form.levels[0]
    fit = {"mode": "none", "source": size, "size": size, "box": (0, 0, *size), "inner": (0, 0, *size)}
    ids = torch.zeros(int(lengths.sum()), dtype=torch.int32)
    return Tokens(form, (VideoRecord(frames, 24, size, fit),), ids, lengths)


def decode(tokens: Tokens) -> None:
    """Both ways of decoding, which refuse the same."""
    with pytest.raises(TokenMismatch) as streamed:
        MODEL.decode_stream(tokens)  # before a frame is asked for
    with pytest.raises(TokenMismatch) as whole:
        MODEL.decode(tokens)
    assert str(streamed.value) == str(whole.value)
    raise whole.value


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"levels": (4, 5, 6)}, r"levels \(4, 5, 6\), .* \(4, 8\)"),
        ({"levels": (4,)}, r"levels \(4,\), .* \(4, 8\)"),
        ({"levels": (20000,)}, r"levels \(20000,\), .* \(4, 8\)"),
        ({"codebook_size": 32}, "codebook_size 32, .* 64"),
        ({"codebook_size": 1024}, "codebook_size 1024, .* 64"),
        ({"block_frames": 1}, "block_frames 1, .* 4"),
        ({"block_frames": 16}, "block_frames 16, .* 4"),
        ({"block_frames": 65536, "frames": 10**9}, "block_frames 65536, .* 4"),
        ({"clip_blocks": 2}, "clip_blocks 2, .* 4"),
        ({"clip_blocks": 256}, "clip_blocks 256, .* 4"),
        ({"size": (30, 32)}, r"pictures of \(30, 32\), .* multiples of \(8, 8\)"),
        ({"size": (32, 1)}, r"pictures of \(32, 1\), .* multiples of \(8, 8\)"),
        ({"checksum": "0" * 16, "levels": (4,)}, "made by unnamed"),
    ],
)
def test_tokens_of_another_form_are_refused_by_what_differs(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TokenMismatch, match=said):
        decode(claiming(**changes))


def test_as_many_frames_come_back_as_the_record_says() -> None:
    assert MODEL.decode(claiming(20)).shape == (1, 20, 3, 32, 32)
    assert len(list(MODEL.decode_stream(claiming(20)))) == 20


def test_pictures_far_larger_than_those_of_the_training_are_made_only_if_asked_for() -> None:
    tokens = claiming(1, (32, 32 * 65))
    with pytest.raises(ValueError, match=r"are 65, above the 64 of limits\.enlarged"):
        MODEL.decode(tokens)
    assert MODEL.decode(tokens, TokenLimits(enlarged=65)).shape == (1, 1, 3, 32, 2080)
    for size in ((4096, 4096), (2**31, 2**31)):
        with pytest.raises(ValueError, match=r"above the .* of limits\.(enlarged|pixels)"):
            MODEL.decode_stream(claiming(1, size))


def test_large_frames_are_made_only_if_asked_for() -> None:
    tokens = claiming(1)
    with pytest.raises(ValueError, match=r"are 1024, above the 1000 of limits\.pixels"):
        next(MODEL.decode_stream(tokens, TokenLimits(pixels=1000)))
    assert len(list(MODEL.decode_stream(tokens, TokenLimits(pixels=1024)))) == 1


def test_tokens_that_say_nothing_of_their_picture_are_refused() -> None:
    tokens = claiming(4)
    record = replace(tokens.videos[0], fit={})
    with pytest.raises(ValueError, match="fit"):
        MODEL.decode(replace(tokens, videos=(record,)))
