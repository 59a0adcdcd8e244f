"""Fitting brings any size to one that the model takes, squashes nothing, and can be undone."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evatok.data.clips import crop_and_resize
from evatok.video import fit as fit_module
from evatok.video.fit import Fit, crop, plan_fit, resize, to_bytes, to_signed

sides = st.integers(1, 300)
patches = st.sampled_from([(8, 8), (4, 4), (8, 4), (1, 1)])


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def smooth(height: int, width: int) -> Tensor:
    """A picture (3, height, width) without detail, which survives resizing."""
    down = torch.linspace(0, 255, height).view(1, -1, 1)
    across = torch.linspace(0, 255, width).view(1, 1, -1)
    return torch.cat([down.expand(1, height, width), across.expand(1, height, width), (down + across) / 2]).to(
        torch.uint8
    )


@pytest.mark.parametrize(
    ("source", "area", "size"),
    [
        ((64, 64), 4096, (64, 64)),
        ((720, 1280), 4096, (48, 88)),
        ((1280, 720), 4096, (88, 48)),
        ((210, 160), 4096, (72, 56)),
        ((1, 4000), 4096, (8, 512)),
        ((128, 128), 16384, (128, 128)),
    ],
)
def test_keep_chooses_the_nearest_size(source: tuple[int, int], area: int, size: tuple[int, int]) -> None:
    fit = plan_fit(source, area=area, patch=(8, 8))
    assert fit.size == size
    assert fit.output_size == source


@given(sides, sides, st.integers(64, 5000), patches)
def test_keep_is_no_worse_than_any_other_size(height: int, width: int, area: int, patch: tuple[int, int]) -> None:
    def error(size: tuple[int, int]) -> float:
        aspect = math.log(size[1] / size[0] * height / width)
        return abs(aspect) + abs(math.log(size[0] * size[1] / area))

    chosen = plan_fit((height, width), area=area, patch=patch).size
    assert chosen[0] % patch[0] == chosen[1] % patch[1] == 0
    for rows in range(1, 30):
        for columns in range(1, 30):
            assert error(chosen) <= error((rows * patch[0], columns * patch[1])) + 1e-8


@settings(max_examples=60, deadline=None)
@given(sides, sides, patches, st.sampled_from(["keep", "crop", "letterbox"]))
def test_there_and_back_has_the_recorded_shapes(height: int, width: int, patch: tuple[int, int], mode: str) -> None:
    fit = plan_fit((height, width), area=1024, patch=patch, mode=mode)  # type: ignore[arg-type]
    model = fit.apply(smooth(height, width))
    assert model.dtype == torch.float32
    assert model.shape == (3, *fit.size)
    assert model.min() >= -1
    assert model.max() <= 1
    back = fit.undo(model)
    assert back.dtype == torch.uint8
    assert back.shape == (3, *fit.output_size)
    assert Fit.from_dict(json.loads(json.dumps(fit.to_dict()))) == fit


@pytest.mark.parametrize("mode", ["keep", "crop", "letterbox"])
def test_what_was_done_is_undone(mode: str) -> None:
    picture = smooth(90, 160)
    fit = plan_fit((90, 160), area=4096, patch=(8, 8), mode=mode)  # type: ignore[arg-type]
    expected = picture[:, :, 35:125] if mode == "crop" else picture
    assert (fit.undo(fit.apply(picture)).float() - expected.float()).abs().mean() < 1.5
    assert (fit.undo(to_bytes(fit.apply(picture))).float() - expected.float()).abs().mean() < 1.5


@pytest.mark.parametrize("mode", ["keep", "crop", "letterbox", "none"])
def test_equal_sizes_are_left_alone(mode: str) -> None:
    fit = plan_fit((64, 64), area=4096, patch=(8, 8), mode=mode)  # type: ignore[arg-type]
    frames = noise(2, 3, 64, 64)
    assert torch.equal(fit.apply(frames), frames.float() / 127.5 - 1)
    assert torch.equal(fit.undo(fit.apply(frames)), frames)
    assert torch.equal(fit.undo(frames), frames)


def test_training_and_encoding_resize_alike() -> None:
    """A training clip, uint8, is what encoding sees of the same frames, to a grey level."""
    frames = noise(3, 3, 18, 32).repeat_interleave(5, -1).repeat_interleave(5, -2)
    seen = plan_fit((90, 160), area=4096, patch=(8, 8)).apply(frames)
    clip = crop_and_resize(frames, (0, 0, 90, 160), (seen.shape[-2], seen.shape[-1]))
    assert clip.dtype == torch.uint8
    difference = (clip.int() - to_bytes(seen).int()).abs().float()
    assert difference.mean() < 0.3 and difference.quantile(0.99) <= 1


def test_every_byte_survives() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(to_signed(values)), values)
    outside = torch.tensor([-1.5, -1.0, -1 + 0.6 / 127.5, 0.0, 1.0, 1.5])
    assert to_bytes(outside).tolist() == [0, 0, 1, 128, 255, 255]
    assert to_signed(values)[[0, 255]].tolist() == [-1.0, 1.0]


def test_letterbox_has_black_bars_and_keeps_the_aspect() -> None:
    fit = plan_fit((30, 60), area=1024, patch=(8, 8), mode="letterbox")
    assert fit.inner == (8, 0, 16, 32)
    seen = fit.apply(torch.full((3, 30, 60), 255, dtype=torch.uint8))
    assert (seen[:, :8] == -1).all()
    assert (seen[:, 24:] == -1).all()
    assert (seen[:, 8:24] > 0.99).all()


def test_crop_takes_the_centre() -> None:
    fit = plan_fit((8, 16), area=64, patch=(8, 8), mode="crop")
    frames = noise(1, 3, 8, 16)
    assert fit.box == (0, 4, 8, 8)
    assert torch.equal(fit.undo(fit.apply(frames)), frames[..., 4:12])


def test_none_wants_multiples_of_the_patch() -> None:
    assert plan_fit((24, 40), area=64, patch=(8, 8), mode="none").size == (24, 40)
    with pytest.raises(ValueError, match=r"25x40.*multiple of 8"):
        plan_fit((25, 40), area=64, patch=(8, 8), mode="none")


@pytest.mark.parametrize("mode", ["keep", "crop", "letterbox"])
def test_a_frame_does_not_depend_on_its_neighbours(mode: str) -> None:
    frames = noise(2, 5, 3, 37, 51)
    fit = plan_fit((37, 51), area=1024, patch=(8, 8), mode=mode)  # type: ignore[arg-type]
    together = fit.apply(frames)
    back = fit.undo(together)
    assert together.shape == (2, 5, 3, *fit.size)
    for clip in range(2):
        for number in range(5):
            assert torch.equal(fit.apply(frames[clip, number]), together[clip, number])
            assert torch.equal(fit.undo(together[clip, number]), back[clip, number])


@pytest.mark.parametrize("mode", ["keep", "crop", "letterbox"])
@pytest.mark.parametrize(("height", "width"), [(1081, 1923), (1923, 1081), (128, 9001), (9001, 127)])
def test_a_large_frame_is_fitted_by_rows_to_the_bit(
    height: int, width: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it lies in memory; and never the whole of it is in float32."""
    frame = noise(3, height, width)
    fit = plan_fit((height, width), area=128 * 128, patch=(8, 8), mode=mode)  # type: ignore[arg-type]
    whole = resize(to_signed(crop(frame, fit.box)[None]), fit.inner[2:])[0]
    converted: list[int] = []

    def noted(rows: Tensor) -> Tensor:
        converted.append(rows.numel())
        return to_signed(rows)

    monkeypatch.setattr(fit_module, "to_signed", noted)
    for lying in (frame, frame.permute(1, 2, 0).contiguous().permute(2, 0, 1)):
        assert torch.equal(crop(fit.apply(lying), fit.inner), whole)
    if fit.box[2] * fit.box[3] > 2**20 and fit.box[3] > fit.size[1]:
        assert max(converted) <= 3 * 2**20


def test_frames_are_checked_and_kept() -> None:
    fit = plan_fit((16, 16), area=64, patch=(8, 8))
    good = torch.zeros(1, 3, 16, 16)
    assert fit.apply(good.double()).dtype == torch.float32
    for bad in (1.01, -2.0, math.nan, math.inf):
        frames = good.clone()
        frames[0, 0, 3, 3] = bad
        with pytest.raises(ValueError, match=r"\[-1, 1\]"):
            fit.apply(frames)
    with pytest.raises(TypeError, match="int64"):
        fit.apply(good.long())
    with pytest.raises(ValueError, match=r"\(3, 16, 16\)"):
        fit.apply(good[..., :8])
    whole = plan_fit((16, 16), area=256, patch=(8, 8), mode="none")
    whole.apply(good).add_(1)
    assert (good == 0).all()


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "squash"},
        {"box": [0, 0, 17, 16]},
        {"inner": [0, 0, 0, 8]},
        {"size": [8]},
        {"source": "big"},
        {"size": [8.0, 8]},
        {"extra": 1},
    ],
)
def test_records_of_something_else_are_refused(change: dict[str, object]) -> None:
    record = plan_fit((16, 16), area=64, patch=(8, 8)).to_dict()
    with pytest.raises(ValueError, match=next(iter(change))):
        Fit.from_dict(record | change)


def test_plans_that_make_no_sense_are_refused() -> None:
    for wrong in ({"source_size": (0, 4)}, {"area": 0}, {"patch": (8, 0)}, {"mode": "squash"}):
        arguments: dict[str, object] = {"source_size": (16, 16), "area": 64, "patch": (8, 8)}
        with pytest.raises(ValueError, match=next(iter(wrong))):
            plan_fit(**(arguments | wrong))  # type: ignore[arg-type]
