"""Comparison of a video with its reconstruction, and files that appear together."""

from pathlib import Path

import pytest
import torch

from evatok.codec.reconstruct import Scored, block_edges, compare, evenly, filled_together, scores_table
from evatok.evaluation.metrics import ReconstructionMetrics
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.model import VideoTokenizer
from evatok.video.fit import Fit


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    with torch.random.fork_rng():
        return LPIPS("alex")


@pytest.fixture
def metrics(lpips: LPIPS) -> ReconstructionMetrics:
    return ReconstructionMetrics(lpips)


@pytest.mark.parametrize(("fit", "size"), [("keep", (48, 64)), ("crop", (48, 48)), ("letterbox", (48, 64))])
def test_compare_gives_every_frame_beside_its_original(
    mini: VideoTokenizer, metrics: ReconstructionMetrics, fit: str, size: tuple[int, int]
) -> None:
    video = torch.randint(256, (21, 3, 48, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    tokens = mini.encode(video[None], fit=fit, fps=7)  # type: ignore[arg-type]
    pairs = list(compare(mini, tokens, video, metrics))
    original, made = (torch.cat(list(clips)) for clips in zip(*pairs, strict=True))
    left = (64 - size[1]) // 2
    assert torch.equal(original, video[..., left : left + size[1]])
    # Rounding to whole pixel values before a fit is undone rather than after changes little.
    assert (made.int() - mini.decode(tokens)[0].int()).abs().max() <= 3
    seen = Fit.from_dict(tokens.videos[0].fit)
    if min(seen.inner[2:]) >= 32:
        assert metrics.compute()["frames"] == 21 and metrics.resolutions == {seen.inner[2:]}
    else:
        assert not metrics.resolutions


def cells(line: str) -> list[str]:
    """Of a line of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


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
    video = torch.zeros(4, 3, 8, 128, dtype=torch.uint8)
    tokens = mini.encode(video[None])
    assert [len(clip) for clip, _ in compare(mini, tokens, video, metrics)] == [4]
    assert cells(scores_table([Scored.of(tokens, metrics)]).splitlines()[2])[4:] == ["-", "-", "-"]


def test_edges_of_blocks(mini: VideoTokenizer) -> None:
    tokens = mini.encode(torch.zeros(1, 10, 3, 32, 32, dtype=torch.uint8), fps=4)
    assert block_edges(tokens) == [0.0, 1.0, 2.0, 2.5]


def test_evenly() -> None:
    assert evenly(12, 3) == [2, 6, 10]
    assert evenly(2, 6) == [0, 1]
    assert evenly(1, 6) == [0]


def test_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    new = tmp_path / "a" / "b"
    with pytest.raises(RuntimeError), filled_together(new) as part:
        (part / "one").touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    new.mkdir(parents=True)
    (new / "kept").touch()
    with pytest.raises(RuntimeError), filled_together(new) as part:
        (part / "one").touch()
        raise RuntimeError
    assert [path.name for path in new.iterdir()] == ["kept"]
    with filled_together(new) as part:
        (part / "one").touch()
        assert not (new / "one").exists()
    assert sorted(path.name for path in new.iterdir()) == ["kept", "one"]
