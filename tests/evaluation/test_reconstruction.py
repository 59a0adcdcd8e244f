"""Evaluation of reconstructions, against scores of clips taken one by one; the order of lengths."""

import json
import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from evatok.data.clips import ClipBatch
from evatok.evaluation import reconstruction
from evatok.evaluation.metrics import clip_scores
from evatok.evaluation.reconstruction import evaluate_reconstruction, wrong_steps
from evatok.evaluation.scores import CodeUse, ReconstructionResult, Scores, SourceScores
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.configs import from_dict


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    return LPIPS.from_pretrained("alex")


def batch(name: str, count: int, seed: int) -> ClipBatch:
    """Clips of smooth noise, `(count, 16, 3, 32, 32)`."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count * 16, 3, 4, 4, generator=generator) * 255
    video = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear").round().byte()
    return ClipBatch(video.view(count, 16, 3, 32, 32), torch.full((count,), -1), [f"{name}:{i}" for i in range(count)])


@pytest.fixture(scope="module")
def sources() -> dict[str, ClipBatch]:
    return {"film": batch("film", 3, 1), "games": batch("games", 2, 2)}


@pytest.fixture(scope="module")
def result(mini: VideoTokenizer, sources: dict[str, ClipBatch], lpips: LPIPS) -> ReconstructionResult:
    return evaluate_reconstruction(mini, sources, lpips, [(4, 4, 4, 4), (8, 4, 8, 4)])


def one_by_one(mini: VideoTokenizer, clips: Tensor, assignment: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Reconstructions and ids by the public interface, a clip at a time."""
    tokens = [mini.encode(clip[None], assignment, fit="none") for clip in clips]
    return torch.cat([mini.decode(each) for each in tokens]), torch.cat([each.ids for each in tokens]).long()


@pytest.mark.parametrize("row", [0, 1])
def test_scores_are_means_over_clips(
    mini: VideoTokenizer,
    sources: dict[str, ClipBatch],
    lpips: LPIPS,
    result: ReconstructionResult,
    row: int,
) -> None:
    for source in result.sources:
        scores, clips = source.scores[row], sources[source.name].video
        decoded, _ = one_by_one(mini, clips, scores.assignment)
        expected = clip_scores(clips, decoded, lpips)
        assert scores.clips == len(clips)
        assert scores.psnr == pytest.approx(expected.psnr.mean().item(), abs=1e-3)
        assert scores.ssim == pytest.approx(expected.ssim.mean().item(), abs=1e-4)
        assert scores.lpips == pytest.approx(expected.lpips.mean().item(), abs=1e-4)
        difference = (decoded.double() - clips.double()).abs().mean().item()
        assert scores.l1 == pytest.approx(difference * 2 / 255, abs=1e-4)


def test_scores_of_blocks_are_means_over_clips(
    mini: VideoTokenizer, sources: dict[str, ClipBatch], lpips: LPIPS, result: ReconstructionResult
) -> None:
    scores, clips = result.sources[0].scores[1], sources["film"].video
    decoded, _ = one_by_one(mini, clips, scores.assignment)
    assert len(scores.blocks) == 4
    for block, frames in zip(scores.blocks, (slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 16)), strict=True):
        errors = (decoded[:, frames].double() - clips[:, frames].double()).square().flatten(1).mean(1)
        assert block.psnr == pytest.approx((10 * (255**2 / errors).log10()).mean().item(), abs=1e-3)
        expected = clip_scores(clips[:, frames], decoded[:, frames], lpips).lpips.mean().item()
        assert block.lpips == pytest.approx(expected, abs=1e-4)
    assert sum(block.lpips for block in scores.blocks) / 4 == pytest.approx(scores.lpips, abs=1e-6)


def test_use_of_codes(mini: VideoTokenizer, sources: dict[str, ClipBatch], result: ReconstructionResult) -> None:
    ids = {
        (name, scores.assignment): one_by_one(mini, sources[name].video, scores.assignment)[1].tolist()
        for name in sources
        for scores in result.sources[0].scores
    }
    for source in result.sources:
        for scores in source.scores:
            check_use(scores.codes, ids[source.name, scores.assignment])
        check_use(source.codes, [i for (name, _), some in ids.items() if name == source.name for i in some])
    for scores, use in zip(result.sources[0].scores, result.codes_by_assignment, strict=True):
        check_use(use, [i for (_, at), some in ids.items() if at == scores.assignment for i in some])
    check_use(result.codes, [i for some in ids.values() for i in some])


def check_use(use: CodeUse, ids: list[int]) -> None:
    entropy = -sum(n / len(ids) * math.log(n / len(ids)) for n in map(ids.count, set(ids)))
    assert use.tokens == len(ids)
    assert use.used == pytest.approx(len(set(ids)) / 64)
    assert use.perplexity == pytest.approx(math.exp(entropy))


def test_processes_share_clips_out_and_all_have_the_result(
    mini: VideoTokenizer,
    sources: dict[str, ClipBatch],
    lpips: LPIPS,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares: list[Any] = []
    uneven = {"film": sources["film"], "games": batch("games", 1, 2)}
    whole = evaluate_reconstruction(mini, uneven, lpips)

    def given_by(number: int) -> Any:
        """What process `number` of two gives to the others."""

        def stop(tallies: Any) -> None:
            shares.append(tallies)
            raise InterruptedError

        monkeypatch.setattr(reconstruction, "rank_and_world", lambda: (number, 2))
        monkeypatch.setattr(reconstruction, "gathered", stop)
        with pytest.raises(InterruptedError):
            evaluate_reconstruction(mini, uneven, lpips)

    given_by(0)
    given_by(1)
    assert [[each[0].clips for each in share.values()] for share in shares] == [[2, 1], [1, 0]]
    monkeypatch.setattr(reconstruction, "gathered", lambda _: shares)
    found = evaluate_reconstruction(mini, uneven, lpips)
    assert found.codes == whole.codes
    for ours, theirs in zip(found.sources, whole.sources, strict=True):
        for a, b in zip(ours.scores, theirs.scores, strict=True):
            assert a.clips == b.clips and (a.psnr, a.ssim, a.lpips) == pytest.approx(
                (b.psnr, b.ssim, b.lpips), rel=1e-4
            )
            for block, same in zip(a.blocks, b.blocks, strict=True):
                assert (block.psnr, block.lpips) == pytest.approx((same.psnr, same.lpips), rel=1e-4)


def test_batches_do_not_matter(
    mini: VideoTokenizer,
    sources: dict[str, ClipBatch],
    lpips: LPIPS,
    result: ReconstructionResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconstruction, "_PIXELS_AT_ONCE", 2 * 16 * 32 * 32)  # two clips
    again = evaluate_reconstruction(mini, sources, lpips, [(4, 4, 4, 4), (8, 4, 8, 4)])
    assert again.codes == result.codes
    for ours, theirs in zip(again.sources, result.sources, strict=True):
        for a, b in zip(ours.scores, theirs.scores, strict=True):
            assert (a.psnr, a.lpips) == pytest.approx((b.psnr, b.lpips), rel=1e-4)


def test_originals_features_are_computed_once(
    mini: VideoTokenizer, sources: dict[str, ClipBatch], lpips: LPIPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    features = LPIPS.features

    def counted(self: LPIPS, x: Tensor) -> list[Tensor]:
        seen.append(len(x))
        return features(self, x)

    monkeypatch.setattr(LPIPS, "features", counted)
    evaluate_reconstruction(mini, {"film": sources["film"]}, lpips)
    assert sum(seen) == 3 * 16 * (1 + 2)  # originals, and both uniform lengths


def test_uniform_lengths_when_nothing_is_said(
    mini: VideoTokenizer, sources: dict[str, ClipBatch], lpips: LPIPS
) -> None:
    found = evaluate_reconstruction(mini, {"games": sources["games"]}, lpips)
    assert [scores.assignment for scores in found.sources[0].scores] == [(4,) * 4, (8,) * 4]
    assert [scores.tokens for scores in found.sources[0].scores] == [16, 32]
    assert "32x32" in found.protocol and "alex" in found.protocol and "L1" in found.protocol


def test_results_go_through_json(result: ReconstructionResult) -> None:
    assert from_dict(ReconstructionResult, json.loads(json.dumps(asdict(result)))) == result


@pytest.mark.parametrize(
    ("assignments", "message"),
    [([(5, 4, 4, 4)], "5"), ([(4, 4)], "4 blocks"), ([], "assignments is empty")],
)
def test_wrong_assignments(
    mini: VideoTokenizer,
    sources: dict[str, ClipBatch],
    lpips: LPIPS,
    assignments: list[tuple[int, ...]],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_reconstruction(mini, sources, lpips, assignments)


def test_wrong_clips(mini: VideoTokenizer, sources: dict[str, ClipBatch], lpips: LPIPS) -> None:
    film = sources["film"]
    with pytest.raises(ValueError, match="no source"):
        evaluate_reconstruction(mini, {}, lpips)
    with pytest.raises(ValueError, match="film has no clip"):
        evaluate_reconstruction(mini, {"film": ClipBatch(film.video[:0], film.labels[:0], [])}, lpips)
    with pytest.raises(ValueError, match="16 frames"):
        evaluate_reconstruction(mini, {"film": replace(film, video=film.video[:, :8])}, lpips)


def scored(name: str, *rows: tuple[tuple[int, ...], float, float]) -> SourceScores:
    use = CodeUse(1.0, 1.0, 1)
    return SourceScores(name, tuple(Scores(a, 1, psnr, 0.5, lpips, 0.1, use) for a, psnr, lpips in rows), use)


def test_order_holds_whatever_lies_between() -> None:
    # Rows out of order, and one that is not uniform, which has no place in the order.
    good = scored("a", ((16, 16), 22.0, 0.2), ((8, 8), 20.0, 0.3), ((16, 8), 30.0, 0.9), ((32, 32), 22.1, 0.19))
    assert wrong_steps(good) == []


def test_order_names_the_wrong_steps() -> None:
    bad = scored("b", ((8, 8), 20.0, 0.3), ((16, 16), 20.0, 0.2), ((32, 32), 21.0, 0.25), ((64, 64), 22, math.nan))
    wrong = wrong_steps(bad)
    steps = [(step.metric, step.lengths) for step in wrong]
    assert steps == [("psnr", (8, 16)), ("lpips", (16, 32)), ("lpips", (32, 64))]
    assert wrong[1].values == (0.2, 0.25)
