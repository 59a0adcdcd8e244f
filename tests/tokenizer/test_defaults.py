"""What a program has set as torch's defaults changes no token and no pixel."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.tokens import Tokens
from evatok.video.reading import read_video, write_video
from tests.video.videos import moving_bar


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.parametrize(
    "change",
    [
        lambda: torch.set_default_dtype(torch.float16),
        lambda: torch.set_default_dtype(torch.bfloat16),
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_default_device("meta"),  # on which nothing has a value
    ],
)
def test_defaults_change_no_token(tmp_path: Path, change: Callable[[], None]) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, moving_bar(20), fps=10)
    video = read_video(path).frames[None]
    tokenizer = VideoTokenizer.from_pretrained("evatok-tiny-proxy")
    expected = tokenizer.encode(path)
    pictures, budget = tokenizer.decode(expected), tokenizer.encode(video, fps=10, tokens_per_second=60)
    change()
    assert tokenizer.encode(path) == expected
    assert torch.equal(tokenizer.encode(video).ids, expected.ids)
    assert tokenizer.encode(video, fps=10, tokens_per_second=60) == budget
    assert torch.equal(tokenizer.decode(expected), pictures)
    assert torch.equal(torch.stack(list(tokenizer.decode_stream(expected))), pictures[0])
    assert Tokens.from_bytes(expected.to_bytes()) == expected
    assert torch.equal(VideoTokenizer.from_pretrained("evatok-tiny-proxy").encode(path).ids, expected.ids)
