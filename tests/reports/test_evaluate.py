"""The evaluation stage: the record it writes, its table, the shipped config, and validation while training."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from evatok.cli.arguments import parse_config
from evatok.data.clips import held_out_clips
from evatok.data.folders import FolderConfig, FolderSource
from evatok.data.scenes.source import ScenesConfig
from evatok.data.toy.doom import DoomConfig
from evatok.data.toy.film import CREDIT
from evatok.data.toy.games import GamesConfig
from evatok.evaluation.metrics import clip_scores
from evatok.figures.frames import resized
from evatok.losses.reconstruction import ReconstructionLoss, ReconstructionLossConfig
from evatok.pretrained.i3d import I3D
from evatok.pretrained.lpips import LPIPS
from evatok.reports import real_clips
from evatok.reports.evaluate import EvaluationConfig, evaluate
from evatok.reports.generated import read_cards
from evatok.reports.record import EvaluationRecord
from evatok.stages.tokenizer_validation import validate
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.model import VideoTokenizer

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def config(mini: VideoTokenizer, video_folder: Path, tmp_path: Path) -> EvaluationConfig:
    mini.save_pretrained(tmp_path / "mini")
    return EvaluationConfig(
        tokenizer=str(tmp_path / "mini"),
        sources=[FolderConfig(str(video_folder), name="noise")],
        folder=str(tmp_path / "out" / "deep"),
        clips=3,
        size=(32, 32),
        seed=5,
        credits=["nobody"],
    )


def test_record_has_what_makes_the_numbers(
    config: EvaluationConfig,
    mini: VideoTokenizer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["evaluate", "reconstruction", "--config", "my file.yaml"]
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/evatok", *words])
    path = evaluate(config)
    assert path == Path(config.folder) / "evaluation.json"
    assert [each.name for each in path.parent.iterdir()] == ["evaluation.json"]

    record = EvaluationRecord.read(path)
    assert (record.tokenizer, record.checksum) == ("mini", mini.checksum)
    assert record.command == "evatok evaluate reconstruction --config 'my file.yaml'"
    assert (record.size, record.frames, record.frame_step, record.seed) == ((32, 32), 16, 1, 5)
    assert (record.lpips_net, record.split, record.credits) == ("alex", "validation", ("nobody",))
    assert record.versions["torch"] == torch.__version__

    source = config.sources[0]
    assert isinstance(source, FolderConfig)
    clips = held_out_clips([FolderSource(source)], 3, (32, 32), 16, seed=5)["noise"]
    (noted,) = record.sources
    assert (noted.name, noted.clips, noted.config["folder"]) == ("noise", 3, source.folder)
    assert noted.keys_sha256 == hashlib.sha256(("\n".join(clips.keys) + "\n").encode()).hexdigest()

    (scored,) = record.result.sources
    assert [scores.assignment for scores in scored.scores] == [(4,) * 4, (8,) * 4]
    decoded = mini.reconstruct(clips.video, (8, 8, 8, 8), fit="none")
    expected = clip_scores(clips.video, decoded, LPIPS.from_pretrained("alex"))
    assert scored.scores[1].psnr == pytest.approx(expected.psnr.mean().item(), abs=1e-3)
    assert scored.scores[1].lpips == pytest.approx(expected.lpips.mean().item(), abs=1e-4)

    assert record.x264 is not None
    (rows,) = record.x264.sources.values()
    assert [(row.assignment, row.budget) for row in rows] == [((4,) * 4, 16 * 6), ((8,) * 4, 32 * 6)]  # 64 codes

    printed = capsys.readouterr().out
    assert record.result.protocol in printed and record.x264.protocol in printed
    # Two lengths in each of three tables: scores, blocks, x264.
    assert sum(line.startswith("| noise") for line in printed.splitlines()) == 6


def test_without_x264(config: EvaluationConfig, capsys: pytest.CaptureFixture[str]) -> None:
    assert EvaluationRecord.read(evaluate(replace(config, x264=False))).x264 is None
    assert "x264" not in capsys.readouterr().out


def test_cards_have_fvd_at_fixed_lengths(
    config: EvaluationConfig, mini: VideoTokenizer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(I3D, "from_pretrained", I3D)
    monkeypatch.setattr(
        real_clips, "fvd_features", lambda _, video: video.float().mean(1).flatten(1)[:, ::7][:, :400] / 20
    )
    training = {"config": {"loss": {"perceptual": 1, "lpips_net": "alex"}}}
    numbers = dict.fromkeys(("steps", "clips", "seconds", "skipped", "seed"), 0)
    (Path(config.tokenizer) / "training.json").write_text(json.dumps(training | numbers))
    path = evaluate(replace(config, fvd=True, x264=False))
    cards = read_cards(path.parent / "cards.json")
    assert [card.sampling for card in cards[::3]] == [{"assignment": [4] * 4}, {"assignment": [8] * 4}]
    scores = EvaluationRecord.read(path).result.sources[0].scores
    for (fvd, pixels, perceived), known in zip((cards[:3], cards[3:]), scores, strict=True):
        assert (fvd.protocol.task, fvd.protocol.real_clips, fvd.tokens) == ("reconstruction", 3, known.tokens)
        assert fvd.generator is None and fvd.tokenizer == ("mini", mini.checksum)
        assert fvd.numbers["fvd"] is not None and fvd.numbers["fvd"] > 0
        assert pixels.numbers == {"psnr": pytest.approx(known.psnr, abs=1e-3), "ssim": pytest.approx(known.ssim)}
        assert perceived.numbers["lpips"] == pytest.approx(known.lpips, abs=1e-4)
        assert perceived.biased and not fvd.biased
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| mini, assignment")]
    assert len(rows) == 2 and all(row.count("*") == 1 for row in rows)

    with pytest.raises(ValueError, match="w_q asks for a router's lengths, and mini has no router"):
        evaluate(replace(config, w_q=[1.2], x264=False))
    with pytest.raises(ValueError, match="clips must be at least 2"):
        replace(config, fvd=True, clips=1)


def test_a_card_of_the_routers_lengths(
    config: EvaluationConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(I3D, "from_pretrained", I3D)
    monkeypatch.setattr(real_clips, "fvd_features", lambda _, video: video.float().mean(1).flatten(1)[:, :400])
    wanted = replace(config, tokenizer="evatok-tiny-proxy", size=(64, 64), assignments=[[8] * 4], w_q=[1.2], x264=False)
    cards = read_cards(evaluate(wanted).parent / "cards.json")
    tokenizer = VideoTokenizer.from_pretrained("evatok-tiny-proxy")
    assert isinstance(config.sources[0], FolderConfig)
    clips = held_out_clips([FolderSource(config.sources[0])], 3, (64, 64), 16, seed=5)["noise"]
    tokens = tokenizer.encode(clips.video, w_q=1.2, fit="none")
    assert [card.sampling for card in cards] == [{"w_q": 1.2}] * 3
    assert [card.tokens for card in cards] == [tokens.num_tokens / 3] * 3
    assert cards[2].trained_by == ("lpips-alex",) and "| evatok-tiny-proxy" in capsys.readouterr().out


def test_same_config_gives_the_same_numbers(config: EvaluationConfig) -> None:
    first, second = (json.loads(evaluate(config).read_text()) for _ in range(2))
    assert first.pop("date") <= second.pop("date")
    assert first == second


def test_sources_of_one_name_are_refused(config: EvaluationConfig) -> None:
    twice = EvaluationConfig(config.tokenizer, config.sources * 2, config.folder, clips=1, size=(32, 32))
    with pytest.raises(ValueError, match="two sources of held-out clips are called noise"):
        evaluate(twice)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"clips": 0}, "clips"), ({"step": 0}, "step"), ({"seed": -1}, "seed"), ({"size": (0, 32)}, "size")],
)
def test_wrong_values(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationConfig("x", [ScenesConfig("pictures")], "out", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sources"):
        EvaluationConfig("x", [], "out")


def test_shipped_config() -> None:
    words = ["--config", str(CONFIGS / "tiny" / "evaluation.yaml")]
    given, _ = parse_config(ArgumentParser(exit_on_error=False), words, EvaluationConfig)
    film, games, *scenes, doom = given.sources
    assert isinstance(film, FolderConfig) and isinstance(games, GamesConfig) and isinstance(doom, DoomConfig)
    assert CREDIT in given.credits and given.assignments
    space = TokenizerConfig().space
    assert [each for each in given.assignments if tuple(each) not in space] == []
    assert [list(space.uniform(level)) for level in space.levels] == given.assignments[: len(space.levels)]
    trained = yaml.safe_load((CONFIGS / "tiny" / "proxy.yaml").read_text())["data"]["train"]
    assert film.folder not in [each.get("folder") for each in trained]
    for source, kind in ((games, "games"), (doom, "doom")):
        (episodes,) = [each["seeds"] for each in trained if kind in each]
        assert not set(range(*source.seeds)) & set(range(*episodes))
    held_out = [(each.scenes, each.cutouts) for each in scenes if isinstance(each, ScenesConfig)]
    shown = [(each["scenes"], each["cutouts"]) for each in trained if "scenes" in each]
    assert len(held_out) == len(scenes) == len(shown) == 2
    assert not {folder for pair in held_out for folder in pair} & {folder for pair in shown for folder in pair}


def test_validation_in_training(mini: VideoTokenizer, video_folder: Path) -> None:
    batches = held_out_clips([FolderSource(FolderConfig(str(video_folder), name="noise"))], 5, (32, 32), 16)
    clips = batches["noise"]
    loss = ReconstructionLoss(ReconstructionLossConfig(perceptual=0, lpips_net="alex"))
    found = validate(mini, batches, loss)

    decoded = mini.reconstruct(clips.video, (4, 4, 4, 4), fit="none")
    expected = clip_scores(clips.video, decoded, LPIPS.from_pretrained("alex"))
    assert found.scalars["noise/psnr/4"] == pytest.approx(expected.psnr.mean().item(), abs=1e-3)
    assert found.scalars["noise/lpips/4"] == pytest.approx(expected.lpips.mean().item(), abs=1e-4)
    assert {"noise/ssim/8", "noise/l1/8", "noise/codes", "codes/used", "codes/perplexity/8"} <= set(found.scalars)

    picture = found.pictures["noise"]
    # Rows: original, 4 and 8 tokens; columns: label and four clips, 96 pixels each with gaps of 4.
    assert picture.shape == (3, 3 * 96 + 2 * 4, 5 * 96 + 4 * 4) and picture.dtype == torch.uint8
    assert torch.equal(picture[:, :96, 200:296], resized(clips.video[1, 8], 96))
    assert torch.equal(picture[:, 100:196, 200:296], resized(decoded[1, 8], 96))


def test_validation_without_sources(mini: VideoTokenizer) -> None:
    loss = ReconstructionLoss(ReconstructionLossConfig(perceptual=0))
    assert validate(mini, {}, loss).scalars == {}
