"""A clip's own curve: what search, beam, router and fixed lengths choose on it."""

import pytest
import torch
from torch import Tensor

from evatok.app.clip_curve import ClipCurve
from evatok.app.comparing import Models
from evatok.nn.packed import Layout
from evatok.video.fit import to_bytes, to_signed
from tests.app.small import frames


@pytest.fixture
def clip() -> Tensor:
    return to_signed(frames(16)[None, :, :, ::2, ::2])


def test_parts_of_the_curve_come_one_after_the_other(models: Models, clip: Tensor) -> None:
    curve = ClipCurve(models, clip)
    assert curve.size == 16 and not curve.measured()
    counts = [len(curve.measured()) for _ in curve.measure()]
    assert counts == [8, 16] and curve.whole
    assert not list(curve.measure())  # what is known is not measured again


def test_each_point_is_the_lpips_of_that_reconstruction(models: Models, clip: Tensor) -> None:
    curve = ClipCurve(models, clip)
    list(curve.measure())
    assignment, tokens, lpips = curve.measured()[5]
    layout = Layout.of([assignment])
    with torch.no_grad():
        ids, _ = models.tokenizer.encode_blocks(clip, layout)
        made, _ = models.tokenizer.decode_blocks(ids, layout, (32, 32))
        distance = models.lpips(clip[0], to_signed(to_bytes(made[0]))).mean()
    assert tokens == sum(assignment) and lpips == pytest.approx(float(distance), abs=1e-5)


def test_what_strategies_choose(models: Models, clip: Tensor) -> None:
    curve = ClipCurve(models, clip)
    list(curve.measure())
    cheap, dear = curve.chosen(2.0), curve.chosen(0.001)
    assert list(cheap) == ["search", "beam 2", "router", "best fixed"]
    assert {point.assignment for point in dear.values()} == {(4, 4, 4, 4)}
    assert cheap["search"].lpips == min(point.lpips for point in curve.measured())
    assert cheap["best fixed"].assignment == (8, 8, 8, 8)
    assert [point.assignment for point in curve.uniform()] == [(4, 4, 4, 4), (8, 8, 8, 8)]
    router = models.router(clip, 2.0)[0].tolist()
    assert cheap["router"].assignment == tuple(router)


def test_a_clip_of_two_blocks(models: Models, clip: Tensor) -> None:
    curve = ClipCurve(models, clip[:, :7])
    list(curve.measure())
    assert curve.size == 4 and all(len(point.assignment) == 2 for point in curve.chosen(1.2).values())
