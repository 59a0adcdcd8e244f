"""The model card: what it says, and that it says it of the right weights."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from evatok.evaluation.equal_bits import CodecMeans, CodecResult, CodecScores
from evatok.evaluation.scores import BlockScores, CodeUse, ReconstructionResult, Scores, SourceScores
from evatok.reports.card import write_card
from evatok.reports.record import EvaluatedSource, EvaluationRecord, RecordError, keys_digest
from evatok.tokenizer.model import VideoTokenizer
from tests.stages.routers import mini_router

CONFIG = {
    "data": {
        "train": [
            {"folder": "data/bbb/train", "index": None, "name": "film", "weight": 0.3},
            {"games": "all", "seeds": [0, 4], "frames": 320, "weight": 0.35},
            {"doom": "all", "seeds": [0, 4], "frames": 160, "weight": 0.1},
            {"scenes": "data/photographs", "cutouts": "data/cutouts", "name": "photographs", "weight": 0.15},
            {"shards": "s3://bucket/mine", "name": None, "weight": 0.1},
        ],
        "clips": {"frames": 16, "sizes": [[32, 32], [24, 40], [8, 8]], "size_weights": [3, 1, 0]},
    },
    "ema_decay": 0.999,
    "init_from": None,
}
TRAINING = {
    "steps": 3000,
    "clips": 48000,
    "seconds": 9000.0,
    "skipped": 0,
    "seed": 7,
    "config": CONFIG,
    "validations": [
        {"steps": 1500, "clips": 24000, "seconds": 4500.0, "scalars": {"games/psnr/8": 20.456, "games/lpips/8": 0.25}},
        {"steps": 3000, "clips": 48000, "seconds": 9000.0, "scalars": {"games/psnr/8": 21.0, "games/lpips/8": 0.2}},
    ],
}
COMMAND = "evatok evaluate --config configs/tiny/evaluation.yaml"


def record(checksum: str, *, longest_lpips: float = 0.2) -> EvaluationRecord:
    rows = (
        Scores((4,) * 4, 5, 20.126, 0.6, 0.3, 0.12, CodeUse(0.5, 30.2, 80)),
        Scores((8,) * 4, 5, 22.0, 0.7, longest_lpips, 0.1, CodeUse(0.75, 41.0, 160)),
    )
    result = ReconstructionResult(
        "uint8 RGB at 32x32",
        (SourceScores("games", rows, CodeUse(0.875, 45.0, 240)),),
        CodeUse(0.9375, 50.4, 240),
        (CodeUse(0.5, 30.2, 80), CodeUse(0.75, 41.0, 160)),
    )
    config = {"games": ["pong", "breakout"], "seeds": [100, 101], "frames": 320, "weight": 1.0}
    return EvaluationRecord(
        tokenizer="mini",
        checksum=checksum,
        command=COMMAND,
        date="2026-01-02T03:04:05+00:00",
        split="validation",
        sources=(EvaluatedSource("games", config, 5, keys_digest(["a"])),),
        frames=16,
        frame_step=1,
        size=(32, 32),
        seed=3,
        lpips_net="alex",
        credits=("Some Film, CC-BY 3.0",),
        versions={"evatok": "0.1.0", "torch": "2.13.0"},
        commit=None,
        result=result,
    )


@pytest.fixture
def folder(mini: VideoTokenizer, tmp_path: Path) -> Path:
    folder = tmp_path / "my-tokenizer"
    mini.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(TRAINING))
    return folder


def write(folder: Path, evaluation: EvaluationRecord) -> str:
    evaluation.write(folder.parent / "evaluation.json")
    return write_card(folder, folder.parent / "evaluation.json").read_text()


def test_card_says_what_the_records_say(mini: VideoTokenizer, folder: Path) -> None:
    text = write(folder, record(mini.checksum))
    weights = sum(weight.numel() for weight in mini.parameters())
    for part in (
        "# my-tokenizer\n",
        "4 or 8 tokens out of a codebook of 64, so a clip takes 16 to 32",
        f"{weights / 1e6:.2f}M weights (checksum {mini.checksum})",
        'VideoTokenizer.from_pretrained("my-tokenizer")',
        "3,000",
        "48,000",
        "2.5 hours",
        "16 frames of 32×32 (75%), 24×40 (25%) ",
        "- 30%: videos of the folder `data/bbb/train` (film)",
        "- 35%: all Atari 2600 games, random play with seeds 0 to 3, rendered by the Arcade Learning Environment",
        "- 10%: scripted walks in ViZDoom (all its scenarios and Freedoom's maps) with seeds 0 to 3; art of Freedoom",
        "- 10%: videos of the shards `s3://bucket/mine`",
        "- 15%: views that move over the pictures and videos of `data/photographs` (photographs), with cut-outs of "
        "`data/cutouts` that move over them",
        "uint8 RGB at 32x32",
        "- games: 5 clips of the games pong, breakout, random play with seed 100, rendered by",
        "93.8% of the codes are used, with a perplexity of 50. By tokens a block: 4: 50.0%, 30; 8: 75.0%, 41.",
        "LPIPS falls and PSNR rises with every step",
        f"```sh\n{COMMAND}\n```",
        "(2026-01-02T03:04:05+00:00, evatok 0.1.0, torch 2.13.0)",
        "Credits: Some Film, CC-BY 3.0.",
        "held-out clips at 8 tokens a block",
        "| 24,000 | 20.46 / 0.2500 |",
        "| 48,000 | 21.00 / 0.2000 |",
    ):
        assert part in text


def test_whole_config_can_be_taken_out_of_the_card(mini: VideoTokenizer, folder: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", write(folder, record(mini.checksum)), re.DOTALL)
    assert yaml.safe_load(block) == CONFIG


def test_table_has_a_row_for_each_length(mini: VideoTokenizer, folder: Path) -> None:
    lines = [line for line in write(folder, record(mini.checksum)).splitlines() if line.startswith("| games")]
    assert [re.split(r" *\| *", line)[2:-1] for line in lines] == [
        ["4", "16", "20.13", "0.6000", "0.3000", "0.1200", "50.0%", "30"],
        ["8", "32", "22.00", "0.7000", "0.2000", "0.1000", "75.0%", "41"],
    ]


def with_x264_and_blocks(checksum: str) -> EvaluationRecord:
    plain = record(checksum)
    (games,) = plain.result.sources
    rows = tuple(replace(row, blocks=(BlockScores(21.5, 0.25), BlockScores(19.0, 0.35))) for row in games.scores)
    fits = CodecMeans(187.4, 23.456, 0.8, 0.1234)
    x264 = CodecResult(
        "x264 as a test has it",
        {
            "games": (
                CodecScores((4,) * 4, 96, 0.4, None, CodecMeans(120.0, 20.0, 0.7, 0.2)),
                CodecScores((8,) * 4, 192, 1, fits, fits),
            )
        },
    )
    return replace(plain, result=replace(plain.result, sources=(replace(games, scores=rows),)), x264=x264)


def test_x264_stands_beside_the_tokenizer(mini: VideoTokenizer, folder: Path) -> None:
    text = write(folder, with_x264_and_blocks(mini.checksum))
    lines = [re.split(r" *\| *", line)[2:-1] for line in text.splitlines() if line.startswith("| games")]
    assert lines[2:4] == [
        ["4", "96", "20.13", "0.3000", "40%", "(120)", "(20.00)", "(0.2000)"],
        ["8", "192", "22.00", "0.2000", "100%", "187", "23.46", "0.1234"],
    ]
    assert "x264 as a test has it" in text


def test_blocks_are_shown(mini: VideoTokenizer, folder: Path) -> None:
    text = write(folder, with_x264_and_blocks(mini.checksum))
    assert re.search(r"\| source \| tokens a block \| +block 1 \| +block 2 \|", text)
    assert re.search(r"\| games +\| +8 \| 21\.50 / 0\.2500 \| 19\.00 / 0\.3500 \|", text)


def test_card_of_an_older_record(mini: VideoTokenizer, folder: Path) -> None:
    text = write(folder, record(mini.checksum))
    assert "x264" not in text and "by block" not in text


def test_front_matter_is_what_hubs_read(mini: VideoTokenizer, folder: Path) -> None:
    write(folder, record(mini.checksum))
    entries = ModelCard.load(folder / "README.md").data.to_dict()
    assert entries["license"] == "apache-2.0"
    assert entries["library_name"] == "evatok"
    assert "video-tokenizer" in entries["tags"]


def test_machine_is_named_where_known(mini: VideoTokenizer, folder: Path) -> None:
    (folder / "training.json").write_text(json.dumps({**TRAINING, "seconds": 90, "machine": "2 CPU cores"}))
    assert "1.5 minutes on 2 CPU cores" in write(folder, record(mini.checksum))


def test_remarks_are_shown(mini: VideoTokenizer, folder: Path) -> None:
    (folder / "training.json").write_text(json.dumps({**TRAINING, "remarks": "The schedule was shortened."}))
    assert "\nThe schedule was shortened.\n" in write(folder, record(mini.checksum))


def test_what_training_began_with_and_left_out_is_shown(mini: VideoTokenizer, folder: Path) -> None:
    text = write(folder, record(mini.checksum))
    assert "began with" not in text and "left out" not in text
    training = {**TRAINING, "skipped": 3, "config": {**CONFIG, "init_from": "runs/first/final"}}
    (folder / "training.json").write_text(json.dumps(training))
    text = write(folder, record(mini.checksum))
    assert "`runs/first/final`" in text and "3,000, 3 of them left out" in text


def test_what_a_final_tokenizer_was_trained_with_is_shown(mini: VideoTokenizer, folder: Path) -> None:
    parts = {
        "lengths": {"router": "evatok-tiny-router", "by": "router", "w_q": [0.4, 2.0]},
        "discriminator": {"loss": {"weight": 0.1}},
        "semantic": {"model": {"encoder": {"name": "efficientnet-lite0"}}, "loss": {"weight": 0.02}},
        "alignment": {"model": {"teacher": {"name": "efficientnet-lite0"}, "weight": 0.7}},
    }
    (folder / "training.json").write_text(json.dumps(TRAINING | {"config": CONFIG | parts}))
    text = write(folder, record(mini.checksum))
    for row in (
        "those of the router `evatok-tiny-router`, at w_q 0.4 to 2",
        "of patches, weight 0.1",
        "by efficientnet-lite0, weight 0.02",
        "with efficientnet-lite0, weight 0.7",
    ):
        assert f"{row} |" in text
    assert "carries a router" not in text


def test_a_router_is_named(mini: VideoTokenizer, folder: Path) -> None:
    router = mini_router()
    VideoTokenizer.from_pretrained(folder).set_router(router).save_pretrained(folder)
    assert f"It carries a router (checksum {router.checksum})" in write(folder, record(mini.checksum))


def test_whose_ids_it_has_is_said(mini: VideoTokenizer, folder: Path) -> None:
    assert "Its ids" not in write(folder, record(mini.checksum))
    other = VideoTokenizer(replace(mini.config, ids_of="0123456789abcdef"))
    other.save_pretrained(folder)
    assert "Its ids are those of 0123456789abcdef, from" in write(folder, record(other.checksum))


def test_wrong_order_is_not_hidden(mini: VideoTokenizer, folder: Path) -> None:
    text = write(folder, record(mini.checksum, longest_lpips=0.31))
    assert "More tokens are not better here: games, 4 to 8: LPIPS 0.3000 to 0.3100." in text
    assert "every step" not in text


def test_numbers_of_other_weights_are_refused(folder: Path) -> None:
    with pytest.raises(RecordError, match="is of mini"):
        write(folder, record("0123456789abcdef"))
    assert not (folder / "README.md").exists()


def test_a_readme_of_the_users_stays_and_an_older_card_does_not(mini: VideoTokenizer, folder: Path) -> None:
    (folder / "README.md").write_text("# My tokenizer\n")
    with pytest.raises(RecordError, match="exists and is no card"):
        write(folder, record(mini.checksum))
    assert (folder / "README.md").read_text() == "# My tokenizer\n"
    (folder / "README.md").unlink()
    first = write(folder, record(mini.checksum))
    assert write(folder, record(mini.checksum, longest_lpips=0.25)) != first


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (None, r"training\.json cannot be read"),
        ("not json", r"training\.json cannot be read"),
        ("[]", "holds no JSON object"),
        (json.dumps({"steps": 1}), "is not what training writes"),
        (json.dumps({**TRAINING, "config": {"data": {}}}), "does not describe the training's clips"),
    ],
)
def test_broken_training_records(mini: VideoTokenizer, folder: Path, training: str | None, message: str) -> None:
    path = folder / "training.json"
    if training is None:
        path.unlink()
    else:
        path.write_text(training)
    with pytest.raises(RecordError, match=message):
        write(folder, record(mini.checksum))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "no evaluation of format 1"),
        ({"result": {}}, "is not what an evaluation writes"),
        ({"surprise": 1}, "surprise"),
        ({"x264": {"protocol": "p"}}, "is not what an evaluation writes"),
        ({"size": [32]}, "is not what an evaluation writes"),
    ],
)
def test_broken_evaluations(mini: VideoTokenizer, folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder.parent / "evaluation.json"
    record(mini.checksum).write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RecordError, match=message):
        write_card(folder, path)


@pytest.mark.parametrize("make", [record, with_x264_and_blocks])
def test_record_goes_through_its_file(make: Callable[[str], EvaluationRecord], tmp_path: Path) -> None:
    before = make("0123456789abcdef")
    before.write(tmp_path / "evaluation.json")
    assert EvaluationRecord.read(tmp_path / "evaluation.json") == before
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


def test_record_from_before_blocks_and_x264_is_read(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    with_x264_and_blocks("0123456789abcdef").write(path)
    entries = json.loads(path.read_text())
    del entries["x264"]
    for scores in entries["result"]["sources"][0]["scores"]:
        del scores["blocks"]
    entries["network"] = entries.pop("lpips_net")
    path.write_text(json.dumps(entries))
    assert EvaluationRecord.read(path) == record("0123456789abcdef")


def test_shipped_tokenizers_record_is_read() -> None:
    found = EvaluationRecord.read(Path(__file__).parents[2] / "docs" / "results" / "tiny-proxy-evaluation.json")
    assert [source.name for source in found.result.sources] == ["film", "games", "photographs", "footage", "doom"]
