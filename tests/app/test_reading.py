"""What is read of a visitor's video, and how much."""

from pathlib import Path

import pytest
import torch

from evatok.app.comparing import Models
from evatok.app.limits import AppLimits
from evatok.app.reading import read_clips
from evatok.tokenizer.lengths import LengthRequest
from tests.app.small import video_file


def test_first_clips_come_first_and_all_have_the_tokens_of_the_file(models: Models, tmp_path: Path) -> None:
    path = video_file(tmp_path, 84)
    first, whole = read_clips(models.tokenizer, path, AppLimits())
    assert (first.record.frames, whole.record.frames) == (64, 84)
    assert first.first.shape == (1, 16, 3, 32, 32) and len(whole.times) == 84
    tokens = models.tokenizer.encode(path, uniform=8)
    for _ in range(2):  # they can be read again
        assert models.tokenizer.encode_clips(whole, LengthRequest(uniform=8)) == tokens


@pytest.mark.parametrize("count", [1, 5, 16, 20, 64])
def test_a_short_video_comes_once(models: Models, count: int, tmp_path: Path) -> None:
    (clips,) = read_clips(models.tokenizer, video_file(tmp_path, count), AppLimits())
    assert clips.record.frames == count == sum(each.clips.shape[:2].numel() for each in clips.kept)
    assert clips.first.shape[1] == min(count, 16)


@pytest.mark.parametrize("limits", [AppLimits(seconds=2.0), AppLimits(frames=32)])
def test_no_more_is_read_than_the_limits_say(models: Models, limits: AppLimits, tmp_path: Path) -> None:
    *_, clips = read_clips(models.tokenizer, video_file(tmp_path, 70), limits)
    assert clips.record.frames == 32 and torch.cat([each.clips for each in clips.kept]).shape[0] == 2


def test_limits_are_checked() -> None:
    for wrong in ({"megabytes": 0}, {"seconds": 0.0}, {"waiting": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            AppLimits(**wrong)
