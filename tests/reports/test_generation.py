"""Evaluation of generators: what is measured, what is written, how a killed run goes on."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from evatok.cli import FAILED, main
from evatok.data.folders import FolderConfig
from evatok.evaluation.frechet import frechet_distance
from evatok.generator.config import GENERATOR_PRESETS, GeneratorConfig
from evatok.generator.model import VideoGenerator
from evatok.pretrained.i3d import I3D
from evatok.reports import real_clips
from evatok.reports.generated import SamplingConfig, read_cards, trained_by
from evatok.reports.generation import GenerationConfig, evaluate_generation
from evatok.reports.prediction import PredictionConfig, evaluate_prediction
from evatok.reports.real_clips import RealClipsConfig
from evatok.reports.record import RecordError
from evatok.tokens.token_set import ClipTokens, TokenSetHeader, write_part
from evatok.tokens.tokens import TokenFormat, Tokens, VideoRecord
from evatok.utils.parts import part_name
from evatok.video.reading import write_video

FORM = TokenFormat(
    levels=(4, 8), codebook_size=64, block_frames=4, clip_blocks=4, model="evatok-tiny-proxy", checksum="12ab"
)
COLOURS = {"blue": (20, 40, 220), "red": (220, 40, 20)}


def coloured(name: str | None, seed: int, frames: int = 16) -> Tensor:
    """A video of a colour with noise: uint8 (frames, 3, 32, 32)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(-20, 21, (frames, 3, 32, 32), generator=generator)
    return (torch.tensor(COLOURS.get(name or "", (128, 128, 128)))[:, None, None] + noise).clamp(0, 255).byte()


class FakeGenerator:
    """Makes videos of the classes' colours, and remembers how it was asked."""

    name, checksum, device = "fake", "34cd", torch.device("cpu")

    def __init__(self, classes: tuple[str, ...] = ("blue", "red")) -> None:
        self.config = GeneratorConfig(GENERATOR_PRESETS["gpt-tiny"], FORM, (32, 32), 12.0, classes)
        self.tokenizer = SimpleNamespace(name=FORM.model, checksum=FORM.checksum)
        self.asked: list[dict[str, Any]] = []

    def generate(
        self, classes: Sequence[str | None] | None = None, frames: Tensor | None = None, *, first: int, **options: Any
    ) -> SimpleNamespace:
        self.asked.append(options | {"classes": classes, "frames": frames, "first": first})
        if frames is None:
            videos = torch.stack([coloured(name, 1000 + first + n) for n, name in enumerate(classes or ())])
        else:
            videos = frames[:, -1:].expand(-1, 16, -1, -1, -1)
        lengths = torch.tensor([[8, 4, 4, 4]]).expand(len(videos), -1)
        records = tuple(VideoRecord(16, 12.0, (32, 32)) for _ in videos)
        return SimpleNamespace(
            videos=videos, tokens=Tokens(FORM, records, torch.zeros(20 * len(videos)).int(), lengths)
        )


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> FakeGenerator:
    """The generator that is loaded; features of clips are their means over time of 400 pixels."""
    fake = FakeGenerator()
    monkeypatch.setattr(VideoGenerator, "from_pretrained", lambda *_, **__: fake)
    monkeypatch.setattr(I3D, "from_pretrained", I3D)
    monkeypatch.setattr(
        real_clips, "fvd_features", lambda _, video: video.float().mean(1).flatten(1)[:, ::7][:, :400] / 20
    )
    return fake


@pytest.fixture
def real(tmp_path: Path) -> dict[str, RealClipsConfig]:
    """Clips of two classes, and held-out ones."""
    made = {}
    for number, split in enumerate(("training", "held-out")):
        folder = tmp_path / split
        folder.mkdir()
        rows = ["path,label"]
        for n in range(6):
            name = list(COLOURS)[n % 2]
            write_video(folder / f"{n}.mp4", coloured(name, 100 * number + n, 20), fps=12)
            rows.append(f"{n}.mp4,{name}")
        (folder / "index.csv").write_text("\n".join(rows) + "\n")
        source = FolderConfig(str(folder), index=str(folder / "index.csv"), name="colours")
        made[split] = RealClipsConfig([source], f"{split} split", clips=6)
    return made


@pytest.fixture
def config(generator: FakeGenerator, real: dict[str, RealClipsConfig], tmp_path: Path) -> GenerationConfig:
    return GenerationConfig(
        generator="fake",
        real=real["training"],
        held_out=real["held-out"],
        folder=str(tmp_path / "out"),
        samples=10,
        batch=4,
        sampling=SamplingConfig(guidance=2.5, temperature=0.9, top_k=7, seed=3),
    )


def test_what_a_generation_writes(config: GenerationConfig, generator: FakeGenerator, capsys: Any) -> None:
    path = evaluate_generation(config)
    record = json.loads(path.read_text())
    [card] = read_cards(path.parent / "cards.json")
    assert json.loads((path.parent / "cards.json").read_text())[0] == record["card"]

    protocol = card.protocol
    assert (protocol.task, protocol.metric, protocol.real_split) == ("generation", "FVD", "training split")
    assert (protocol.real_clips, protocol.fake_clips, protocol.frames, protocol.fps) == (6, 10, 16, 12)
    assert (protocol.size, protocol.measured_size) == ((32, 32), (32, 32))
    assert protocol.network and protocol.network.name == "i3d" and len(protocol.network.sha256) == 64
    assert (card.tokenizer, card.generator, card.tokens) == (("evatok-tiny-proxy", "12ab"), ("fake", "34cd"), 20)
    assert card.trained_by == ("lpips-alex",) and not card.biased
    assert card.sampling | {"guidance": 2.5, "top_k": 7, "classes": ["blue", "red"]} == card.sampling
    assert list(card.numbers)[:4] == ["fvd", "fvd_low", "fvd_high", "fvd_infinity"] and card.numbers["floor_clips"] == 3

    assert [(asked["first"], len(asked["classes"])) for asked in generator.asked] == [(0, 4), (4, 4), (8, 2)]
    assert generator.asked[0]["classes"] == ["blue", "red", "blue", "red"]
    assert all((asked["guidance"], asked["temperature"], asked["seed"]) == (2.5, 0.9, 3) for asked in generator.asked)

    def means(videos: list[Tensor]) -> Tensor:
        return torch.stack(videos).float().mean(1).flatten(1)[:, ::7][:, :400] / 20

    fake = means([coloured(list(COLOURS)[n % 2], 1000 + n) for n in range(10)])
    true = means([coloured(list(COLOURS)[n % 2], n) for n in range(6)])
    # The real clips went through a video file.
    assert card.numbers["fvd"] == pytest.approx(frechet_distance(true, fake), rel=0.1)
    assert record["fvd_held_out"] > 0 and record["held_out_clips"] == 6
    agreement = record["agreement"]
    assert (agreement["held_out"], agreement["generated"], agreement["right"]) == (1, 1, 1)
    assert record["lengths"] == {"generated": {"4": 30, "8": 10}} and record["lengths_apart"] is None
    assert record["seconds_per_video"] > 0
    said = capsys.readouterr().out
    assert "blue" not in said and "100.0% of the generated ones" in said and "8: 25.0%" in said


def test_the_contact_sheet_has_a_row_for_each_class(config: GenerationConfig) -> None:
    from PIL import Image

    evaluate_generation(config)
    with Image.open(Path(config.folder) / "samples.png") as sheet:
        picture = torch.tensor(list(sheet.convert("RGB").tobytes())).view(sheet.height, sheet.width, 3).float()
    # A heading, then for each class its name, a real clip and two samples of four pictures each.
    assert picture.shape[1] == 128 + 3 * (4 * 64 + 4)
    for row, name in enumerate(COLOURS):
        top = 16 + 4 + row * 68
        for left in (132, 392, 652):
            mean = picture[top : top + 64, left : left + 256].mean((0, 1))
            torch.testing.assert_close(mean, torch.tensor(COLOURS[name]).float(), atol=8, rtol=0)


def test_a_killed_run_goes_on(config: GenerationConfig, generator: FakeGenerator) -> None:
    whole = read_cards(evaluate_generation(replace(config, folder=f"{config.folder}-whole")).parent / "cards.json")
    generator.asked.clear()
    generate, calls = generator.generate, []

    def killed(*arguments: Any, **options: Any) -> SimpleNamespace:
        calls.append(options["first"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return generate(*arguments, **options)

    generator.generate = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        evaluate_generation(config)
    path = evaluate_generation(config)
    assert calls == [0, 4, 4, 8]
    [card], [expected] = read_cards(path.parent / "cards.json"), whole
    assert (card.numbers, card.protocol) == (expected.numbers, expected.protocol)

    for other in (replace(config, sampling=SamplingConfig()), replace(config, classes=["red", "blue"])):
        with pytest.raises(ValueError, match=r"another evaluation has measured, of other (sampling|classes);"):
            evaluate_generation(other)
    with pytest.raises(ValueError, match="of other clips"):
        evaluate_generation(replace(config, real=replace(config.real, clips=5)))
    generator.tokenizer.checksum = "56ef"  # its decoder trained further
    with pytest.raises(ValueError, match="of other decoder;"):
        evaluate_generation(config)


def test_the_card_names_what_decoded(config: GenerationConfig, generator: FakeGenerator) -> None:
    generator.tokenizer = SimpleNamespace(name="pong/tokenizer", checksum="56ef")
    [card] = read_cards(evaluate_generation(replace(config, compile=True)).parent / "cards.json")
    assert card.tokenizer == ("pong/tokenizer", "56ef") and card.trained_by is None
    assert all(asked["compile"] for asked in generator.asked)


@pytest.mark.parametrize(
    ("classes", "known", "asked"),
    [
        (["red", "blue"], ("red", "green", "blue"), ["red", "blue"] * 2),
        (None, (), [None] * 4),
        (["red", "blue"], ("blue", "red"), ["red", "blue"] * 2),
    ],
)
def test_classes_that_are_asked_for(
    classes: list[str] | None, known: tuple[str, ...], asked: list[str | None], config: GenerationConfig, generator: Any
) -> None:
    generator.config = replace(generator.config, classes=known)
    path = evaluate_generation(replace(config, classes=classes, samples=4))
    assert generator.asked[0]["classes"] == asked
    assert (json.loads(path.read_text())["agreement"] is None) == (not known)
    assert (path.parent / "samples.png").exists()


def test_wrong_wishes(config: GenerationConfig) -> None:
    with pytest.raises(ValueError, match="classes: green are none of the generator's 2"):
        evaluate_generation(replace(config, classes=["red", "green"]))
    with pytest.raises(ValueError, match="not of the same classes: only one side has blue"):
        evaluate_generation(replace(config, classes=["red"]))
    wrong: dict[str, Any] = {"samples": 1, "batch": 0, "rows": 0, "step": 0, "sheet": -1, "classes": []}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            replace(config, **{name: value})
    with pytest.raises(ValueError, match="clips must be at least 2"):
        replace(config.real, clips=1)


def test_frames_that_are_given_do_not_count(
    generator: FakeGenerator, real: dict[str, RealClipsConfig], tmp_path: Path, capsys: Any
) -> None:
    config = PredictionConfig("fake", real["held-out"], str(tmp_path / "out"), batch=4)
    path = evaluate_prediction(config)
    fvd, pixels, perceived = read_cards(path.parent / "cards.json")
    assert (fvd.protocol.task, fvd.protocol.given_frames, fvd.protocol.fake_clips) == ("prediction", 5, 6)
    assert [asked["frames"].shape for asked in generator.asked] == [(4, 5, 3, 32, 32), (2, 5, 3, 32, 32)]
    assert generator.asked[0]["assignment"] == [0, 0, 0, 0]
    assert perceived.protocol.network and perceived.protocol.network.name == "lpips-alex" and perceived.biased
    assert "*" in capsys.readouterr().out
    assert (pixels.protocol.network, pixels.protocol.measured_size, pixels.tokens) == (None, (32, 32), 20)
    assert fvd.numbers["fvd"] is not None and fvd.numbers["fvd"] > 0

    # Who knows the given frames only as noise, and the others as they are, has predicted everything.
    clips = real_clips.RealClips(real["held-out"], (32, 32), 16, 1).batch(range(6)).video

    def knows(frames: Tensor, first: int, **_: Any) -> SimpleNamespace:
        made = FakeGenerator().generate(frames=frames, first=first)
        true = clips[first : first + len(frames)].clone()
        true[:, :5] = 0
        return SimpleNamespace(videos=true, tokens=made.tokens)

    generator.generate = knows  # type: ignore[assignment, method-assign]
    fvd, pixels, perceived = read_cards(
        evaluate_prediction(replace(config, folder=str(tmp_path / "known"))).parent / "cards.json"
    )
    assert fvd.numbers["fvd"] == pytest.approx(0, abs=1e-6)
    assert pixels.numbers == {"psnr": 100, "ssim": pytest.approx(1)} and perceived.numbers["lpips"] == pytest.approx(0)


def test_prediction_is_measured_at_the_size_that_is_asked_for(
    generator: FakeGenerator, real: dict[str, RealClipsConfig], tmp_path: Path
) -> None:
    config = PredictionConfig(
        "fake", real["held-out"], str(tmp_path / "out"), measured_size=(48, 48), given_lengths=[8, 4]
    )
    for card in read_cards(evaluate_prediction(config).parent / "cards.json"):
        assert (card.protocol.size, card.protocol.measured_size) == ((32, 32), (48, 48))
    assert generator.asked[0]["assignment"] == [8, 4, 0, 0]
    with pytest.raises(ValueError, match="given must be below the generator's 16 frames, got 16"):
        evaluate_prediction(replace(config, given=16))


def test_results_side_by_side(config: GenerationConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(tmp_path / name / "cards.json") for name in ("one", "two", "less")]
    for file, samples in zip(files, (6, 6, 4), strict=True):
        evaluate_generation(replace(config, folder=str(Path(file).parent), samples=samples))
    capsys.readouterr()
    assert main(["evaluate", "results", *files[:2], "--columns", "fvd", "fvd_infinity"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("|")][2:] == ["one", "two"]
    assert main(["evaluate", "results", *files]) == FAILED
    said = capsys.readouterr().err
    assert "fvd of one and of less cannot stand in one column: they differ in fake_clips 6 and 4" in said
    Path(files[1]).write_text('[{"numbers": {}}]')
    assert main(["evaluate", "results", *files]) == FAILED
    assert "cards.json holds no cards of results" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "networks"),
    [
        ({"loss": {"perceptual": 1.0, "lpips_net": "vgg"}}, ("lpips-vgg",)),
        ({"loss": {"perceptual": 0, "lpips_net": "vgg"}, "semantic": None, "alignment": None}, ()),
        (
            {
                "loss": {"perceptual": 1.0, "lpips_net": "alex"},
                "semantic": {"model": {"encoder": {"name": "efficientnet-lite0"}}},
                "alignment": {"model": {"teacher": {"name": "facebook/vjepa2-vitl-fpc64-256"}}},
            },
            ("lpips-alex", "efficientnet-lite0", "facebook/vjepa2-vitl-fpc64-256"),
        ),
    ],
)
def test_networks_of_losses(config: dict[str, Any], networks: tuple[str, ...], tmp_path: Path) -> None:
    entries = {"steps": 1, "clips": 1, "seconds": 1, "skipped": 0, "seed": 0, "config": config}
    (tmp_path / "training.json").write_text(json.dumps(entries))
    assert trained_by(tmp_path / "training.json") == networks
    assert trained_by(tmp_path / "missing.json") is None
    (tmp_path / "training.json").write_text(json.dumps(entries | {"config": {}}))
    with pytest.raises(RecordError, match="does not say what losses there were"):
        trained_by(tmp_path / "training.json")


def test_lengths_beside_those_of_a_token_set(config: GenerationConfig, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "tokens"
    header = TokenSetHeader(FORM, ("blue", "red"), (32, 32), 12.0, 1, {})
    (folder / part_name(0)).parent.mkdir(parents=True)
    # Of four blocks three have eight tokens; of the generated ones, one.
    ids = np.zeros(28, np.int32)
    clips = [ClipTokens("a", 0, 0, False, np.array([8, 8, 4, 8], np.int32), ids)]
    write_part(folder / part_name(0), header, clips, {})
    header.write(folder)
    record = json.loads(evaluate_generation(replace(config, lengths_of=str(folder))).read_text())
    assert record["lengths"] == {"generated": {"4": 30, "8": 10}, "token set": {"4": 1, "8": 3}}
    assert record["lengths_apart"] == 0.5 and "differ in 50.0%" in capsys.readouterr().out
    with pytest.raises(ValueError, match="nowhere"):
        evaluate_generation(replace(config, lengths_of=str(tmp_path / "nowhere")))
