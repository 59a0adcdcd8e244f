"""The training of a decoder alone: what was made of a tokenizer's ids goes on with it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evatok.generator.config import GeneratorConfig, GeneratorSize
from evatok.generator.model import VideoGenerator
from evatok.stages.proxy import ProxyConfig, train_proxy
from evatok.tokenizer.model import TokenMismatch, VideoTokenizer
from evatok.training.checkpoints import checkpoints
from tests.conftest import IN_PASSES, random_tokenizer
from tests.runs import differing_files, mini_config
from tests.stages.parts import PATCHES


def decoder_config(folder: Path, videos: Path, start: Path, **loop: int) -> ProxyConfig:
    mini = mini_config(folder, videos, **loop)
    # Against a discriminator, as it is meant; unused codes would be drawn anew at step 2.
    codebook = replace(mini.codebook, warmup=0, window=2)
    start_of = replace(mini, init_from=str(start), model=IN_PASSES, codebook=codebook)
    return replace(start_of, trainable="decoder", discriminator=PATCHES)


@pytest.fixture
def start(tmp_path: Path) -> VideoTokenizer:
    tokenizer = random_tokenizer(IN_PASSES)
    tokenizer.save_pretrained(tmp_path / "start")
    return VideoTokenizer.from_pretrained(tmp_path / "start")


@pytest.fixture
def trained(tmp_path: Path, video_folder: Path, start: VideoTokenizer) -> VideoTokenizer:
    config = decoder_config(tmp_path / "run", video_folder, tmp_path / "start", steps=4)
    return VideoTokenizer.from_pretrained(train_proxy(config))


def test_only_the_decoder_learns(start: VideoTokenizer, trained: VideoTokenizer) -> None:
    before, after = start.state_dict(), trained.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder"}


def test_it_gives_the_same_ids_and_both_decode_each_others(
    start: VideoTokenizer, trained: VideoTokenizer, video_folder: Path
) -> None:
    theirs, own = (each.encode(video_folder / "1.mp4") for each in (start, trained))
    assert torch.equal(theirs.ids, own.ids) and torch.equal(theirs.lengths, own.lengths)
    assert torch.equal(trained.decode(theirs), trained.decode(own))
    assert not torch.equal(start.decode(theirs), trained.decode(theirs))
    assert torch.equal(start.decode(theirs), start.decode(own))
    assert trained.checksum != start.checksum == own.format.checksum


def test_it_refuses_the_tokens_of_others(trained: VideoTokenizer, start: VideoTokenizer) -> None:
    other = VideoTokenizer(IN_PASSES)
    tokens = other.encode(torch.zeros(1, 8, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(TokenMismatch, match=f"made by .*{other.checksum}.*this is final .{start.checksum}"):
        trained.decode(tokens)


def test_whose_ids_it_has_outlives_further_training(
    start: VideoTokenizer, trained: VideoTokenizer, tmp_path: Path, video_folder: Path
) -> None:
    config = decoder_config(tmp_path / "further", video_folder, tmp_path / "run" / "final", steps=4)
    further = VideoTokenizer.from_pretrained(train_proxy(config))
    assert further.checksum != trained.checksum and further.config.ids_of == start.checksum
    for tokens in (start.encode(video_folder / "1.mp4"), trained.encode(video_folder / "1.mp4")):
        further.decode(tokens)


def test_training_of_all_weights_ends_it(trained: VideoTokenizer, tmp_path: Path, video_folder: Path) -> None:
    config = decoder_config(tmp_path / "further", video_folder, tmp_path / "run" / "final", steps=4)
    assert trained.config.ids_of
    assert VideoTokenizer.from_pretrained(train_proxy(replace(config, trainable="all"))).config.ids_of is None


def test_a_generator_of_its_starts_tokens_takes_it(
    start: VideoTokenizer, trained: VideoTokenizer, tmp_path: Path
) -> None:
    config = GeneratorConfig(GeneratorSize(16, 1, 2), start.token_format, (32, 32), 12.0)
    generator = VideoGenerator(config, tokenizer=trained)
    videos, tokens = generator.generate([None], progress=False)
    assert torch.equal(videos, trained.decode(tokens))
    generator.save_pretrained(tmp_path / "pong")
    loaded = VideoGenerator.from_pretrained(tmp_path / "pong")
    assert loaded.tokenizer is not None
    assert (loaded.tokenizer.name, loaded.tokenizer.checksum) == ("pong/tokenizer", trained.checksum)
    assert torch.equal(loaded.generate([None], progress=False).videos, videos)
    with pytest.raises(ValueError, match=f"writes tokens of start .{start.checksum}., not of"):
        VideoGenerator(config, tokenizer=VideoTokenizer(IN_PASSES))


def test_a_decoder_alone_needs_a_start(tmp_path: Path, video_folder: Path) -> None:
    with pytest.raises(ValueError, match="trainable is decoder, whose encoder is that of init_from; got none"):
        replace(mini_config(tmp_path, video_folder), trainable="decoder")


def test_a_resume_ends_where_an_undisturbed_run_does(tmp_path: Path, video_folder: Path, start: VideoTokenizer) -> None:
    whole, parted = (
        decoder_config(tmp_path / name, video_folder, tmp_path / "start", steps=4, checkpoint_every=2)
        for name in ("whole", "parted")
    )
    train_proxy(whole)
    train_proxy(parted)
    shutil.rmtree(tmp_path / "parted" / "final")
    shutil.rmtree(checkpoints(tmp_path / "parted" / "checkpoints")[-1])
    train_proxy(parted, resume=True)
    assert not differing_files(tmp_path / "whole", tmp_path / "parted")
