"""Comparison of a video with its reconstruction."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from evatok.codec.beside import apart
from evatok.codec.moments import Moments, block_edges, block_lengths, evenly
from evatok.codec.reconstruct import reconstruct_file
from evatok.codec.scored import Scored, measured, scores_table
from evatok.evaluation.metrics import ReconstructionMetrics
from evatok.figures.frames import GAP
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokenizer.model import EncodedClips, VideoTokenizer
from evatok.video.fit import Mode
from evatok.video.reading import read_video, write_video


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    with torch.random.fork_rng():
        return LPIPS("alex")


@pytest.fixture
def metrics(lpips: LPIPS) -> ReconstructionMetrics:
    return ReconstructionMetrics(lpips)


def test_of_frames_and_their_times_only_the_last_piece_is_held() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def made() -> Iterator[tuple[torch.Tensor, list[float]]]:
        for number in range(5):
            assert sum(each() is not None for each in held) <= 1
            piece = torch.full((2, 3, 4, 4), number)
            held.append(weakref.ref(piece))
            yield piece, [2.0 * number, 2.0 * number + 1]
            del piece

    frames, times = apart(made())
    seen = [(int(frame.flatten()[0]), next(times)) for piece in frames for frame in piece]
    assert seen == [(number // 2, float(number)) for number in range(10)] and next(times, None) is None


@pytest.mark.parametrize("fit", ["keep", "crop", "letterbox"])
def test_what_is_measured_is_what_the_model_saw_and_made(
    mini: VideoTokenizer, metrics: ReconstructionMetrics, fit: Mode
) -> None:
    video = torch.randint(256, (21, 3, 96, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clips, made = mini.tensor_clips(video[None], fit), []
    tokens = mini.encode_clips(
        clips, LengthRequest(), lambda encoded: made.append(measured(mini, encoded, clips.fit, metrics))
    )
    assert tokens == mini.encode(video[None], fit=fit) and [part.shape[:2] for part in made] == [(1, 16), (1, 5)]
    whole = torch.cat(made, 1)[0]
    assert torch.equal(whole, torch.stack(list(mini.decode_stream(tokens, undo_fit=False))))
    # Rounding to whole pixel values before a fit is undone rather than after changes little.
    assert (clips.fit.undo(whole).int() - mini.decode(tokens)[0].int()).abs().max() <= 3
    if min(clips.fit.inner[2:]) >= 32:
        assert list(metrics.compute()) == ["psnr", "ssim", "lpips"] and metrics.resolutions == {clips.fit.inner[2:]}
    else:
        assert not metrics.compute() and not metrics.resolutions


def cells(line: str) -> list[str]:
    """Of a line of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("frames", [1, 5, 24, 25, 1000])
def test_moments_of_a_stream_lie_near_the_middles_of_equal_stretches(frames: int) -> None:
    moments = Moments()
    for number in range(frames):
        moments.add(torch.tensor(number), torch.tensor(-number))
    numbers, pairs = moments.evenly()
    assert [(int(before), int(after)) for before, after in pairs] == [(number, -number) for number in numbers]
    assert len(numbers) == min(frames, 6)
    middles = [(2 * i + 1) * frames / (2 * len(numbers)) for i in range(len(numbers))]
    assert all(abs(number - middle) <= 1 + frames / 24 for number, middle in zip(numbers, middles, strict=True))


@pytest.mark.parametrize(("fit", "left"), [("keep", 0), ("crop", 20)])
def test_each_frame_stands_beside_its_reconstruction(
    mini: VideoTokenizer, tmp_path: Path, fit: Mode, left: int
) -> None:
    """A frame's number is its brightness; in the last columns of the source, which a crop leaves out, it is black."""
    video = torch.arange(0, 240, 12, dtype=torch.uint8)[:, None, None, None].repeat(1, 3, 240, 280)
    video[..., 270:] = 0
    write_video(tmp_path / "in.mp4", video, fps=10)
    mini.save_pretrained(tmp_path / "model")
    reconstruct_file(tmp_path / "in.mp4", tmp_path / "out", str(tmp_path / "model"), LengthRequest(), fit=fit)
    made = read_video(tmp_path / "out" / "reconstruction.mp4")
    beside = read_video(tmp_path / "out" / "side_by_side.mp4").frames[..., -240:, :]
    width = 280 - 2 * left
    assert len(made.frames) == 20 and made.fps == pytest.approx(10) and made.frames.shape[-2:] == (240, width)
    for number, sheet in enumerate(beside):
        assert sheet[..., : width - 16].float().mean() == pytest.approx(12 * number, abs=3)
        right = sheet[..., width + GAP : 2 * width + GAP].float()
        distances = (right - made.frames.float()).abs().mean((1, 2, 3))
        assert distances.argmin() == number and distances[number] < 8
    assert (beside[-1, :, :, width - 8 : width - 2].float().mean() < 60) == (fit == "keep")


def test_scores_of_a_hand_made_case(mini: VideoTokenizer, metrics: ReconstructionMetrics) -> None:
    """A reconstruction that is off by 16 everywhere has 20 log10(255 / 16) dB."""
    video = torch.full((5, 3, 32, 32), 100, dtype=torch.uint8)
    tokens = mini.encode(video[None], (8, 4, 4, 4), fps=5)
    metrics.update(video[None], video[None] + 16)
    scored = Scored.of(tokens, metrics)
    assert (scored.tokens, scored.seconds, scored.tokens_per_second) == (12, 1.0, 12.0)
    assert scored.bits_per_pixel == pytest.approx((12 * 6 + 2) / (5 * 32 * 32))
    assert scored.psnr == pytest.approx(24.05, abs=0.01)
    header, _, row, protocol = scores_table([scored]).splitlines()
    assert cells(header) == ["assignment", "tokens", "tokens/s", "bits/pixel", "PSNR", "SSIM", "LPIPS"]
    assert cells(row)[:5] == ["8,4", "12", "12.0", "0.0145", "24.05"]
    assert "32x32" in protocol and "tokenizer's resolution" in protocol


def test_pictures_too_small_to_measure(mini: VideoTokenizer, metrics: ReconstructionMetrics) -> None:
    clips = mini.tensor_clips(torch.zeros(1, 4, 3, 8, 128, dtype=torch.uint8))

    def watch(encoded: EncodedClips) -> None:
        measured(mini, encoded, clips.fit, metrics)

    tokens = mini.encode_clips(clips, LengthRequest(), watch)
    assert cells(scores_table([Scored.of(tokens, metrics)]).splitlines()[2])[4:] == ["-", "-", "-"]


def test_lengths_and_edges_of_blocks(mini: VideoTokenizer) -> None:
    tokens = mini.encode(torch.zeros(1, 10, 3, 32, 32, dtype=torch.uint8), (8, 4, 4, 8), fps=4)
    assert block_lengths(tokens) == [8, 4, 4] and block_edges(tokens) == [0.0, 1.0, 2.0, 2.5]


def test_evenly() -> None:
    assert evenly(12, 3) == [2, 6, 10]
    assert evenly(2, 6) == [0, 1]
    assert evenly(1, 6) == [0]
