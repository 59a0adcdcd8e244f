"""Generators on made-up token sets: they learn, resume to the same weights, and leave what transformers loads."""

import json
import logging
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from evatok.data.overlap import OverlapError
from evatok.generator.config import GeneratorSize
from evatok.generator.model import VideoGenerator
from evatok.stages.generator import GeneratorTask, GeneratorTrainingConfig, TokenSetsConfig, train_generator
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.checkpoints import checkpoints
from evatok.training.loop import LoopConfig
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Item
from tests.generator.sets import CLASSES, FORM, made_up, save
from tests.runs import differing_files


@pytest.fixture
def config(tmp_path: Path) -> GeneratorTrainingConfig:
    """A run of 8 steps; 20 clips of other videos are held out."""
    save(made_up([3] * 12), tmp_path / "train")
    save(made_up([5] * 4, seed=1), tmp_path / "validation")
    return GeneratorTrainingConfig(
        folder=str(tmp_path / "run"),
        data=TokenSetsConfig([str(tmp_path / "train")], [str(tmp_path / "validation")]),
        size=GeneratorSize(32, 2, 2),
        batch=100,
        token_dropout=0.1,
        optimizer=OptimizerConfig(lr=3e-3, warmup=2, schedule="wsd", final=0.0),
        loop=LoopConfig(steps=8, precision="no", log_every=4, validate_every=8, checkpoint_every=4),
        ema_decay=0.9,
    )


def test_it_learns_what_can_be_known(config: GeneratorTrainingConfig) -> None:
    loop = replace(config.loop, steps=250, validate_every=250, checkpoint_every=250)
    config = replace(config, token_dropout=0.0, loop=loop, optimizer=replace(config.optimizer, lr=1e-2))
    save(made_up([3] * 1000), Path(config.data.train[0]))
    task = GeneratorTask(config)
    before = task.validate(0).scalars
    assert before["perplexity"] == pytest.approx(len(task.model.grammar.vocabulary), rel=0.2)
    trained = train_generator(config)
    [after] = json.loads((trained / "training.json").read_text())["validations"]
    scalars = after["scalars"]
    # Each code is one of the three from the one before it on; of the two lengths nothing can be known.
    assert math.log(3) < scalars["codes"] < 0.5 * before["codes"]
    assert scalars["perplexity"] == pytest.approx(math.exp(scalars["codes"])) and 3 < scalars["perplexity"] < 8
    assert math.log(2) * 0.9 < scalars["lengths"] < 1.5 and 0.2 < scalars["length_accuracy"] < 0.8


def test_validation_is_what_transformers_says_of_sequence_after_sequence(config: GeneratorTrainingConfig) -> None:
    task = GeneratorTask(config)
    assert task.held_out is not None
    plain = AutoModelForCausalLM.from_config(task.model.llama())
    plain.load_state_dict(task.trained["generator"].network.llama.state_dict())
    nats, lengths, codes = 0.0, list[float](), list[float]()
    for number in range(len(task.held_out)):
        sequence = task.held_out.sequence(number)
        with torch.no_grad():
            each = F.cross_entropy(plain.eval()(sequence[None]).logits[0, :-1], sequence[1:], reduction="none")
        is_code = sequence[1:] < FORM.codebook_size
        codes, lengths = [*codes, *each[is_code].tolist()], [*lengths, *each[~is_code][:-1].tolist()]
        nats += each[:-1].sum().item()
    scalars = task.validate(0).scalars
    assert (len(lengths), len(codes)) == (40, sum(task.held_out.lengths) - 20 * 3)
    assert scalars["codes"] == pytest.approx(sum(codes) / len(codes), rel=1e-4)
    assert scalars["lengths"] == pytest.approx(sum(lengths) / len(lengths), rel=1e-4)
    assert scalars["bits_per_clip"] == pytest.approx(nats / math.log(2) / 20, rel=1e-4)


def test_each_token_counts_alike_in_the_losses_of_an_epoch(config: GeneratorTrainingConfig) -> None:
    task = GeneratorTask(replace(config, token_dropout=0.0, class_dropout=0.0))
    assert task.batches.epoch > 3

    def loss(number: int) -> float:
        [(name, terms)] = task.losses(0, Item(task.batches[number], 0))
        assert name == "generator" and terms["cross_entropy"].dtype == torch.float32
        return terms["cross_entropy"].item()

    losses = [loss(number) for number in range(task.batches.epoch)]
    task.batches = GeneratorTask(replace(config, class_dropout=0.0, batch=10**6)).batches
    assert task.batches.epoch == 1
    assert loss(0) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_a_batch_of_more_tokens_than_there_are_is_told(
    config: GeneratorTrainingConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "evatok")
    task = GeneratorTask(config)
    assert not caplog.records and task.batches.epoch > 1
    task = GeneratorTask(replace(config, batch=10**12))
    [told] = [each.message for each in caplog.records]
    assert told == f"batch is 1000000000000, and there are {task.batches.tokens:.0f} tokens: every batch has them all"
    assert task.batches.epoch == 1


def test_resumed_training_ends_with_the_same_weights(config: GeneratorTrainingConfig, tmp_path: Path) -> None:
    config = replace(config, loop=replace(config.loop, accumulate=2))
    train_generator(config)
    parts = replace(config, folder=str(tmp_path / "parts"), loop=replace(config.loop, workers=1))
    train_generator(parts)
    shutil.rmtree(checkpoints(tmp_path / "parts" / "checkpoints")[-1])
    train_generator(parts, resume=True)
    assert differing_files(tmp_path / "run", tmp_path / "parts") == []


def test_half_precision_computes_attention_and_loss_as_it_should(config: GeneratorTrainingConfig) -> None:
    task = GeneratorTask(config)
    item = Item(task.batches[0], 7)
    [(_, exact)] = task.losses(0, item)
    with torch.autocast("cpu", torch.bfloat16):
        [(_, half)] = task.losses(0, item)
    assert half["cross_entropy"].dtype == torch.float32
    assert half["cross_entropy"].item() == pytest.approx(exact["cross_entropy"].item(), rel=1e-2)


def test_a_generator_has_its_tokenizer_and_training_goes_on_from_it(
    config: GeneratorTrainingConfig, tmp_path: Path, mini: VideoTokenizer
) -> None:
    mini.save_pretrained(tmp_path / "mini")
    form = replace(mini.token_format, model="mini")
    for name, seed in (("train", 0), ("validation", 1)):
        save(made_up([3] * 6, seed, form=form), tmp_path / name)
    config = replace(config, tokenizer=str(tmp_path / "mini"), clips=2)
    trained = VideoGenerator.from_pretrained(train_generator(config))
    assert trained.tokenizer is not None and trained.tokenizer.checksum == mini.checksum
    assert (trained.config.classes, trained.config.clips, trained.config.picture) == (CLASSES, 2, (32, 32))
    later = replace(config, folder=str(tmp_path / "later"), init_from=f"{config.folder}/final")
    first = json.loads((train_generator(later) / "training.json").read_text())["validations"][0]
    last = json.loads(Path(config.folder, "final", "training.json").read_text())["validations"][-1]
    assert first["steps"] == 0 and first["scalars"] == pytest.approx(last["scalars"])
    with pytest.raises(ValueError, match=r"init_from .* is another generator: clips is 2, and 1"):
        GeneratorTask(replace(later, clips=1))
    save(made_up([3] * 6, form=replace(form, checksum="f" * 16)), tmp_path / "foreign")
    with pytest.raises(ValueError, match=r"writes tokens of mini \(f{16}\), not of"):
        GeneratorTask(replace(config, data=TokenSetsConfig([str(tmp_path / "foreign")])))
    save(made_up([3] * 6), tmp_path / "train")
    with pytest.raises(ValueError, match="do not go together: clip_blocks is 4, and 2"):
        GeneratorTask(config)


def test_sets_that_do_not_belong_together_are_refused(config: GeneratorTrainingConfig, tmp_path: Path) -> None:
    good = made_up([3])
    other: dict[str, tuple[Any, str]] = {
        "format": (replace(FORM, checksum="f" * 16), "checksum is ffffffffffffffff, and 0123456789abcdef"),
        "classes": (("boat", "car", "plane"), "they differ in classes, as plane, train"),
        "picture": ((32, 64), r"picture is \(32, 64\), and \(32, 32\)"),
        "fps": (30.0, "fps is 30.0, and 15.0"),
    }
    for name, (value, said) in other.items():
        save(replace(good, **{name: value}), tmp_path / "validation")
        with pytest.raises(ValueError, match=f"validation and .*train do not go together: {said}"):
            GeneratorTask(config)


def test_sets_that_share_a_video_are_refused_before_anything_is_trained(
    config: GeneratorTrainingConfig, tmp_path: Path
) -> None:
    other, leaky = made_up([3] * 2, seed=2), made_up([1] * 4, seed=1)
    names = pyarrow.array(["source1:0", "source0:11", "source1:2", "source0:7"])
    save(replace(leaky, names=names), tmp_path / "leaky")
    save(other, tmp_path / "other")
    validation = [str(tmp_path / "other"), str(tmp_path / "leaky")]
    with pytest.raises(OverlapError, match="2 videos of validation are in training, such as source0:11;"):
        train_generator(replace(config, data=replace(config.data, validation=validation)))
    assert not Path(config.folder).exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"clips": 0}, "clips must be at least 1, got 0"),
        ({"class_dropout": 1.0}, "class_dropout must be at least 0 and below 1, got 1.0"),
        ({"token_dropout": -0.1}, "token_dropout must be at least 0 and below 1, got -0.1"),
        ({"ema_decay": 1.0}, "ema_decay must be"),
    ],
    ids=str,
)
def test_a_config_says_what_it_may_be(config: GeneratorTrainingConfig, values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(config, **values)


def test_a_config_names_sets_for_training_and_others_for_validation() -> None:
    with pytest.raises(ValueError, match="train names no token set"):
        TokenSetsConfig([], ["a"])
    with pytest.raises(ValueError, match="validation has a token set of train, b; it must be of other videos"):
        TokenSetsConfig(["a", "b"], ["c", "b"])
