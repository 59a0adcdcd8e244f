"""The tokenizer as a whole: causality, independence of neighbours, any number of frames, saving."""

import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evatok.nn.packed import Layout, Packed
from evatok.tokenizer.config import PRESETS, TokenizerConfig
from evatok.tokenizer.model import TokenMismatch, VideoTokenizer
from evatok.tokens.tokens import Tokens
from evatok.utils.saving import CheckpointError
from evatok.video.fit import Fit
from evatok.video.reading import read_video, write_video
from tests.conftest import IN_PASSES, MINI, SKETCHED, random_tokenizer


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("preset", "low", "high"), [("tiny", 1.5e6, 8e6), ("small", 11e6, 12.45e6), ("base", 137.75e6, 152.25e6)]
)
def test_sizes_of_presets(preset: str, low: float, high: float) -> None:
    with torch.device("meta"):
        model = VideoTokenizer(PRESETS[preset])
    assert low <= sum(weight.numel() for weight in model.parameters()) <= high


@pytest.mark.parametrize("frames", range(1, 71))
def test_any_number_of_frames_comes_back(mini: VideoTokenizer, frames: int) -> None:
    video = noise(1, frames, 3, 32, 32)
    tokens = mini.encode(video)
    assert tokens.videos[0].frames == frames
    assert (tokens.lengths > 0).sum() == -(-frames // 4)
    assert mini.decode(tokens).shape == video.shape


def test_a_clip_has_the_same_tokens_alone_in_any_batch_and_twice(mini: VideoTokenizer) -> None:
    video = noise(11, 16, 3, 32, 32)
    lengths = mini.config.space.sample(torch.Generator().manual_seed(1), 11)
    together = mini.encode(video, lengths)
    assert mini.encode(video, lengths) == together
    for batch in (1, 2, 3, 5):
        for clips in torch.arange(11).split(batch):
            some = mini.encode(video[clips], lengths[clips])
            assert some == Tokens.cat([together[int(clip)] for clip in clips])
    neighbours = torch.cat([video[4:5], noise(6, 16, 3, 32, 32, seed=9)])
    assert mini.encode(neighbours, torch.cat([lengths[4:5], lengths[:6]]))[0] == together[4]


def test_the_training_pass_takes_a_layout_that_fits_the_video(mini: VideoTokenizer) -> None:
    video, lengths = torch.zeros(2, 16, 3, 32, 32), [[4, 8, 8, 4], [8, 4, 4, 4]]
    with torch.no_grad():
        assert mini(video, Layout.of(lengths)).video.shape == video.shape
    with pytest.raises(TypeError, match=r"layout must be a Layout, such as Layout.of\(lists of lengths\), got Tensor"):
        mini(video, torch.tensor(lengths))
    with pytest.raises(ValueError, match=r"2 clips of 4 blocks, its layout clips of \[4\] blocks"):
        mini(video, Layout.of(lengths[:1]))
    with pytest.raises(ValueError, match=r"2 clips of 4 blocks, its layout clips of \[4, 3\] blocks"):
        mini(video, Layout.of([[4, 8, 8, 4], [8, 4, 4]]))


@pytest.mark.parametrize("config", [MINI, SKETCHED, IN_PASSES], ids=["paper", "sketch", "passes"])
def test_a_clip_has_the_same_frames_alone_in_any_batch_and_twice(config: TokenizerConfig) -> None:
    model, video = random_tokenizer(config), noise(7, 40, 3, 32, 32)
    tokens = model.encode(video, config.space.sample(torch.Generator().manual_seed(1), 7))
    together = model.decode(tokens)
    assert together.shape == video.shape and torch.equal(model.decode(tokens), together)
    for batch in (1, 2, 3, 5):
        for some in torch.arange(7).split(batch):
            assert torch.equal(model.decode(Tokens.cat([tokens[int(one)] for one in some])), together[some])
    assert torch.equal(torch.stack(list(model.decode_stream(tokens[4]))), together[4])


def test_several_videos_are_decoded_in_one_pass(mini: VideoTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, decode = mini.encode(noise(4, 20, 3, 32, 32)), mini.decoder.forward
    calls: list[int] = []

    def counted(tokens: Packed, *more: Any) -> Any:
        calls.append(len(tokens.layout.lengths))
        return decode(tokens, *more)

    monkeypatch.setattr(mini.decoder, "forward", counted)
    mini.decode(tokens)
    # Four full clips, and four last ones of one block.
    assert calls == [4, 4]


def test_later_frames_and_lengths_change_nothing_earlier(mini: VideoTokenizer) -> None:
    video = noise(1, 16, 3, 32, 32)
    other = torch.cat([video[:, :8], noise(1, 8, 3, 32, 32, seed=1)], 1)
    a = mini.encode(video, (8, 4, 4, 4))
    b = mini.encode(other, (8, 4, 8, 8))
    assert torch.equal(a.ids[:12], b.ids[:12]) and not torch.equal(a.ids[12:], b.ids[12:20])
    first, second = mini.decode(a), mini.decode(b)
    assert torch.equal(first[:, :8], second[:, :8]) and not torch.equal(first[:, 8:], second[:, 8:])


def test_a_shorter_clip_is_a_prefix_of_a_longer_one(mini: VideoTokenizer) -> None:
    video = noise(1, 16, 3, 32, 32)
    whole, part = mini.encode(video, (4, 8, 4, 8)), mini.encode(video[:, :8], (4, 8, 4, 8))
    assert torch.equal(whole.ids[:12], part.ids)


@torch.no_grad()
def test_streaming_block_by_block_is_the_full_pass(mini: VideoTokenizer) -> None:
    video = torch.rand(3, 16, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    lengths = ((4, 8, 8, 4), (8, 8, 4, 4), (8, 8, 4, 4))
    ids, _ = mini.encode_blocks(video, Layout(lengths))
    frames, _ = mini.decode_blocks(ids, Layout(lengths), (32, 48))
    reads = writes = None
    by_clip: list[list[Tensor]] = [[], [], []]
    for block in range(4):
        layout = Layout(tuple(row[block : block + 1] for row in lengths), first_block=block)
        new, reads = mini.encode_blocks(video[:, 4 * block : 4 * block + 4], layout, reads)
        shown, writes = mini.decode_blocks(new, layout, (32, 48), writes)
        torch.testing.assert_close(shown, frames[:, 4 * block : 4 * block + 4], atol=1e-5, rtol=1e-5)
        for clip, part in enumerate(new.split([row[block] for row in lengths])):
            by_clip[clip].append(part)
    assert torch.equal(torch.cat([part for clip in by_clip for part in clip]), ids)


@pytest.mark.parametrize("size", [(64, 64), (48, 88), (96, 96), (8, 8)])
def test_one_model_serves_every_grid(mini: VideoTokenizer, size: tuple[int, int]) -> None:
    video = noise(1, 5, 3, *size)
    tokens = mini.encode(video, fit="none")
    assert Fit.from_dict(tokens.videos[0].fit).size == size
    assert mini.decode(tokens).shape == video.shape


def test_fit_is_recorded_and_undone(mini: VideoTokenizer) -> None:
    tokens = mini.encode(noise(1, 4, 3, 90, 160))
    fit = Fit.from_dict(tokens.videos[0].fit)
    assert fit.size == (24, 48) or fit.size == (24, 40)
    assert mini.decode(tokens).shape == (1, 4, 3, 90, 160)


def test_an_image_is_one_block(mini: VideoTokenizer) -> None:
    assert mini.encode(noise(1, 1, 3, 32, 32), (4, 8, 8, 8)).lengths.tolist() == [[4, 0, 0, 0]]


def test_encoding_never_runs_the_decoder(mini: VideoTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the decoder ran")

    monkeypatch.setattr(mini.decoder, "forward", fail)
    assert mini.encode(noise(1, 4, 3, 32, 32)).num_tokens == 8


def test_default_assignment_is_logged(mini: VideoTokenizer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="evatok"):
        tokens = mini.encode(noise(1, 16, 3, 32, 32))
    assert tokens.lengths.tolist() == [[8, 4, 4, 4]] and "default (8, 4, 4, 4)" in caplog.text


def test_floats_and_bytes_of_the_same_picture_give_the_same_tokens(mini: VideoTokenizer) -> None:
    video = noise(2, 4, 3, 32, 32)
    assert torch.equal(mini.encode(video).ids, mini.encode(video.float() / 127.5 - 1).ids)


@pytest.mark.parametrize(
    ("video", "error", "said"),
    [
        (noise(16, 3, 32, 32), ValueError, r"video\[None\]"),
        (noise(1, 16, 4, 32, 32), ValueError, r"\(B, F, 3, H, W\)"),
        (noise(1, 0, 3, 32, 32), ValueError, "none of them 0"),
        (noise(1, 4, 3, 32, 32).float(), ValueError, r"\[-1, 1\]"),
        (noise(1, 4, 3, 32, 32).long(), TypeError, "uint8"),
        ([1, 2], TypeError, "tensor or a path, got list"),
    ],
)
def test_wrong_videos_are_refused(mini: VideoTokenizer, video: Tensor, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        mini.encode(video)


@pytest.mark.parametrize(
    ("assignment", "said"),
    [((8, 4), "shape"), ((8, 4, 4, 5), "levels are"), ((8.0, 4, 4, 4), "integers"), ([[4] * 4] * 3, "shape")],
)
def test_wrong_assignments_are_refused(mini: VideoTokenizer, assignment: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        mini.encode(noise(1, 16, 3, 32, 32), assignment)


def test_videos_of_different_shape_are_decoded_one_by_one(mini: VideoTokenizer) -> None:
    tokens = Tokens.cat([mini.encode(noise(1, 4, 3, 32, 32)), mini.encode(noise(1, 7, 3, 32, 32))])
    with pytest.raises(ValueError, match="one by one"):
        mini.decode(tokens)
    assert [mini.decode(video).shape[1] for video in tokens] == [4, 7]


def test_a_file_gives_the_tokens_of_its_frames(mini: VideoTokenizer, tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    write_video(path, noise(150, 3, 32, 32), fps=10)
    tokens = mini.encode(path)
    assert tokens.videos[0].frames == 150 and tokens.videos[0].fps == pytest.approx(10)
    assert tokens.videos[0].times is None
    assert torch.equal(tokens.ids, mini.encode(read_video(path).frames[None]).ids)
    assert sum(1 for _ in mini.decode_stream(tokens)) == 150


def test_variable_frame_rates_are_kept(mini: VideoTokenizer, tmp_path: Path) -> None:
    path, times = tmp_path / "in.mp4", torch.tensor([0, 0.1, 0.5, 0.6, 1.0], dtype=torch.float64)
    write_video(path, noise(5, 3, 32, 32), fps=10, times=times)
    stored = mini.encode(path).videos[0].times
    assert stored is not None
    torch.testing.assert_close(stored, times, atol=1e-3, rtol=0)


def test_saved_and_loaded_it_is_the_same(mini: VideoTokenizer, tmp_path: Path) -> None:
    mini.save_pretrained(tmp_path / "mine")
    loaded = VideoTokenizer.from_pretrained(tmp_path / "mine")
    assert loaded.config == mini.config and loaded.checksum == mini.checksum
    video = noise(1, 16, 3, 32, 32)
    tokens = mini.encode(video)
    assert torch.equal(loaded.encode(video).ids, tokens.ids)
    assert torch.equal(loaded.decode(tokens), mini.decode(tokens))
    assert loaded.name == "mine"


def test_half_precision_files_load_as_float32(mini: VideoTokenizer, tmp_path: Path) -> None:
    mini.save_pretrained(tmp_path, torch.float16)
    assert load_file(tmp_path / "model.safetensors")["quantizer.codebook"].dtype == torch.float16
    assert VideoTokenizer.from_pretrained(tmp_path).quantizer.codebook.dtype == torch.float32


def test_tokens_of_another_model_are_refused(mini: VideoTokenizer) -> None:
    other = VideoTokenizer(mini.config)
    with pytest.raises(TokenMismatch, match=mini.checksum):
        mini.decode(other.encode(noise(1, 4, 3, 32, 32)))


@pytest.mark.parametrize("config", [MINI, SKETCHED, IN_PASSES], ids=["paper", "sketch", "passes"])
def test_in_another_dtype_it_makes_nearly_the_same_tokens(config: TokenizerConfig) -> None:
    model, video = random_tokenizer(config), noise(1, 20, 3, 32, 32)
    tokens = model.encode(video)
    half, double = copy.deepcopy(model).bfloat16(), copy.deepcopy(model).double()
    assert half.dtype == torch.bfloat16 and half.checksum == model.checksum
    assert (half.encode(video).ids == tokens.ids).float().mean() > 0.8
    assert (half.decode(tokens).float() - model.decode(tokens).float()).abs().mean() < 2
    assert torch.equal(double.encode(video).ids, tokens.ids)


def test_checkpoints_that_do_not_fit_say_why(mini: VideoTokenizer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no folder and no shipped"):
        VideoTokenizer.from_pretrained("no-such-thing")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        VideoTokenizer.from_pretrained(tmp_path)
    mini.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["decoder.surprise"] = weights.pop("quantizer.codebook")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing \['quantizer.codebook'\], unknown \['decoder.surprise'\]"):
        VideoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        VideoTokenizer.from_pretrained(tmp_path)
    entries = json.loads((tmp_path / "config.json").read_text())
    entries["config"]["surprise"] = 1
    (tmp_path / "config.json").write_text(json.dumps(entries))
    with pytest.raises(CheckpointError, match=r"does not know.*surprise"):
        VideoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(entries | {"format": 2}))
    with pytest.raises(CheckpointError, match="format 2"):
        VideoTokenizer.from_pretrained(tmp_path)


def test_config_names_the_wrong_value() -> None:
    with pytest.raises(ValueError, match="default_assignment"):
        TokenizerConfig(default_assignment=(1, 2, 3, 4))
    with pytest.raises(ValueError, match="patch"):
        TokenizerConfig(patch=(4, 0, 8))
