"""x264 as a yardstick: what a clip's pictures take, and that they come back as they were."""

import pytest
import torch
from torch import Tensor

from evatok.evaluation.metrics import clip_psnr
from evatok.evaluation.x264 import _slice_bits, through_x264


def smooth(frames: int = 16) -> Tensor:
    """A coloured picture, 32×48, that moves a pixel a frame."""
    coarse = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(3)) * 255
    picture = torch.nn.functional.interpolate(coarse, (32, 48), mode="bilinear")[0].round().byte()
    return torch.stack([picture.roll(t, 2) for t in range(frames)])


def noise(frames: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randint(0, 256, (frames, 3, 32, 48), generator=generator, dtype=torch.uint8)


def test_fine_settings_give_the_clip_back() -> None:
    # A wrong matrix, range or order of frames costs tens of decibels; rounding of Y, Cb and Cr leaves about 53.
    clip = smooth()
    assert clip_psnr(clip, through_x264(clip, 1).video) > 45


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (12, 130, 250)])
def test_flat_colours_stay(colour: tuple[int, int, int]) -> None:
    clip = torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).expand(4, 3, 32, 32)
    difference = through_x264(clip, 1).video.int() - clip.int()
    assert difference.abs().max() <= 3


def test_bits_follow_content_and_setting() -> None:
    still = smooth(1).expand(16, -1, -1, -1)
    assert through_x264(noise(), 30).bits > 10 * through_x264(still, 30).bits
    bits = [through_x264(smooth(), crf).bits for crf in (10, 30, 50)]
    assert bits == sorted(bits, reverse=True) and bits[0] > bits[-1]


def test_only_slices_are_counted() -> None:
    parameters, information, key, other = b"\x67abc", b"\x06de", b"\x65fghij", b"\x01kl"
    long, short = b"\0\0\0\1", b"\0\0\1"
    assert _slice_bits(long + parameters + long + information + short + key) == 8 * 6
    assert _slice_bits(short + key + long + other) == 8 * (6 + 3)
    assert _slice_bits(long + parameters) == 0


def test_same_clip_same_bits_and_pictures() -> None:
    (bits, video), *again = (through_x264(noise(), 40) for _ in range(5))
    assert all(bits == each.bits and torch.equal(video, each.video) for each in again)


def test_one_frame_and_odd_sides() -> None:
    clip = noise(1)[..., :31, :33]
    assert through_x264(clip, 20).video.shape == clip.shape


def test_wrong_clips_and_settings() -> None:
    with pytest.raises(ValueError, match="uint8"):
        through_x264(smooth().float(), 20)
    with pytest.raises(ValueError, match=r"\(F, 3, H, W\)"):
        through_x264(smooth()[None], 20)
    with pytest.raises(ValueError, match="0 to 51, got 52"):
        through_x264(smooth(), 52)
