"""The sketch: a closed loop of linear maps around the quantizer."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from evatok.nn.packed import Layout, Packed
from evatok.tokenizer.config import FSQConfig, SketchConfig, TokenizerConfig
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokenizer.network import books_of
from evatok.tokenizer.picture import Picture
from evatok.tokenizer.start import start
from evatok.video.fit import to_signed
from tests.conftest import IN_PASSES, MINI, OVERLAPPING, SKETCHED

FORMS = pytest.mark.parametrize("config", [SKETCHED, IN_PASSES], ids=["one pass", "passes"])


def clips(count: int, still: bool = False, seed: int = 0) -> Tensor:
    """Smooth moving pictures `(count, 16, 3, 32, 32)` in [-1, 1], or still ones."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator) * 2 - 1
    wide = torch.nn.functional.interpolate(coarse, (48, 48), mode="bicubic", align_corners=False).clamp(-1, 1)
    shifts = [0 if still else t for t in range(16)]
    return torch.stack([wide[:, :, 8 : 8 + 32, shift : shift + 32] for shift in shifts], 1)


def started(config: TokenizerConfig) -> VideoTokenizer:
    """A tokenizer whose sketch has been fitted to moving and still pictures."""
    torch.manual_seed(0)
    model = VideoTokenizer(config).eval()
    videos = [clips(4, still, seed) for seed in range(1, 9) for still in (False, True)]
    start(model, videos, torch.Generator().manual_seed(0))
    return model


@torch.no_grad()
def error(model: VideoTokenizer, video: Tensor, assignment: tuple[int, ...]) -> list[float]:
    """Mean squared error of each block."""
    output = model(video, Layout.of([assignment] * len(video)))
    return [float(each.square().mean()) for each in (output.video - video).split(4, 1)]


@pytest.mark.parametrize(("size", "tokens"), [((64, 64), 64), ((64, 64), 16), ((64, 64), 128), ((48, 88), 32)])
def test_cells_are_the_picture_at_another_resolution(size: tuple[int, int], tokens: int) -> None:
    picture = Picture.of(size, replace(SKETCHED, side=64, levels=(4, 8)))
    y, x = torch.meshgrid(torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1]), indexing="ij")
    frames = torch.stack((y, x, y + x)).expand(1, 4, -1, -1, -1)
    cells = picture.cells(frames, tokens)
    assert cells.shape == (1, tokens, 4 * 3 * 64)
    back = picture.frames(cells)
    # A slope survives resizing, but for the outermost pixels.
    torch.testing.assert_close(back[..., 8:-8, 8:-8], frames[..., 8:-8, 8:-8], atol=0.05, rtol=0)
    if tokens == 64 and size == (64, 64):
        assert torch.equal(back, frames)
        assert torch.equal(cells[0, 9].view(4, 3, 8, 8), frames[0, :, :, 8:16, 8:16])


@FORMS
def test_before_any_step_it_codes(config: TokenizerConfig) -> None:
    model, video = started(config), clips(6, seed=99)
    grey = float(video.square().mean())
    few, many = (sum(error(model, video, (k,) * 4)) / 4 for k in (4, 8))
    assert many < few < 0.6 * grey


@FORMS
def test_where_nothing_moves_later_blocks_refine_earlier_ones(config: TokenizerConfig) -> None:
    model, video = started(config), clips(6, still=True, seed=99)
    errors = error(model, video, (8,) * 4)
    assert errors[3] < 0.7 * errors[0]
    alone = started(replace(config, sketch=SketchConfig(carry=False)))
    assert error(alone, video, (8,) * 4)[3] == pytest.approx(error(alone, video, (8,) * 4)[0], rel=1e-3)


@FORMS
@torch.no_grad()
def test_encoder_and_decoder_draw_the_same_sketch(config: TokenizerConfig) -> None:
    model, video = started(config), clips(3, seed=5)
    lengths = ((4, 8, 8, 4), (8, 8, 4, 4), (8, 8, 4, 4))
    output = model(video, Layout.of(lengths))
    ids, memory = model.encode_blocks(video, Layout(lengths))
    shown, decoded = model.decode_blocks(ids, Layout(lengths), (32, 32))
    assert torch.equal(output.quantized.ids % config.quantizer.codebook_size, ids)
    assert output.sketch is not None and memory.last is not None and decoded.last is not None
    torch.testing.assert_close(memory.last, output.sketch[:, -1])
    torch.testing.assert_close(decoded.last, memory.last, atol=1e-5, rtol=0)
    torch.testing.assert_close(shown, output.video, atol=1e-5, rtol=0)


@FORMS
def test_the_start_depends_on_its_generator_alone(config: TokenizerConfig) -> None:
    first, second = started(config), started(config)
    assert first.checksum == second.checksum


@pytest.mark.parametrize("config", [SKETCHED, OVERLAPPING], ids=["one pass", "passes, overlap"])
def test_gradients_reach_every_weight(config: TokenizerConfig) -> None:
    model = started(config).train()
    video = clips(2)
    # Zero at the start, and in the way of what is below.
    torch.nn.init.normal_(model.encoder.out.weight, std=0.1)
    torch.nn.init.normal_(model.decoder.frames.linear.weight, std=0.1)
    if model.decoder.frames.margins is not None:
        torch.nn.init.normal_(model.decoder.frames.margins.linear.weight, std=0.1)
    output = model(video, Layout.of([[4, 8, 4, 8], [8, 8, 4, 4]]))
    (torch.stack(list(output.losses.values())).sum() + (output.video - video).abs().mean()).backward()
    missing = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not missing


def test_finite_scalars_may_code_a_sketch() -> None:
    config = replace(SKETCHED, quantizer=FSQConfig((8, 5, 5)))
    model, video = started(config), clips(4, seed=3)
    assert sum(error(model, video, (8,) * 4)) < sum(error(VideoTokenizer(config).eval(), video, (8,) * 4))
    bytes_ = ((video + 1) * 127.5).round().to(torch.uint8)
    assert model.encode(bytes_, (8, 4, 4, 4)) == model.encode(to_signed(bytes_), (8, 4, 4, 4))


def test_the_papers_form_has_no_such_start() -> None:
    with pytest.raises(ValueError, match="needs a tokenizer with a sketch"):
        start(VideoTokenizer(MINI), [clips(2)], torch.Generator())


def test_passes_share_out_the_tokens() -> None:
    config = replace(SKETCHED, sketch=SketchConfig(passes=(1, 1, 2), own_codebooks=True))
    picture = Picture.of((32, 32), config)
    assert picture.passes(64) == (16, 16, 32)
    assert picture.passes(16) == (4, 4, 8)
    assert picture.passes(8) == (8,)  # two cells would be too few
    assert picture.passes(50) == (50,)  # not to be divided by four


@torch.no_grad()
def test_a_second_pass_codes_what_the_first_one_lacks() -> None:
    model, video = started(IN_PASSES), clips(6, seed=99)
    layout = Layout.of([[8] * 4] * 6)
    output = model(video, layout)
    second = books_of(model.config, layout, (32, 32)) % 2 == 1
    without = output.quantized.values.masked_fill(second[:, None], 0)
    assert model.sketch is not None and output.sketch is not None
    alone = model.sketch.draw(Packed(without, layout), (32, 32), None).video
    assert (output.sketch - video).square().mean() < 0.8 * (alone - video).square().mean()


@torch.no_grad()
def test_each_pass_takes_its_own_codes_under_the_same_ids() -> None:
    model, video = started(IN_PASSES), clips(3)
    layout = Layout.of([[8, 4, 8, 4]] * 3)
    books = books_of(model.config, layout, (32, 32)).view(3, 24)
    assert books[1].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [2] * 4 + [3] * 4 + [2] * 4
    output, (ids, _) = model(video, layout), model.encode_blocks(video, layout)
    assert ids.min() >= 0 and ids.max() < 64 < model.config.codes
    assert torch.equal(output.quantized.ids.view(3, 24), ids.view(3, 24) + 64 * books)
