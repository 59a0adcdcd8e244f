"""A video at the lengths of several strategies, at one cost."""

from dataclasses import replace
from pathlib import Path

import pytest

from evatok.app.comparing import AppModelError, Models, at_the_same_cost, best_fixed, compare, mixed
from evatok.app.limits import AppLimits
from evatok.app.reading import KeptClips, read_clips
from evatok.codec.scored import Scored
from evatok.tokenizer.lengths import LengthRequest
from tests.app.small import video_file


@pytest.fixture
def clips(models: Models, tmp_path: Path) -> KeptClips:
    (clips,) = read_clips(models.tokenizer, video_file(tmp_path, 32), AppLimits())
    return clips


def test_what_is_downloaded_is_what_encode_gives(models: Models, clips: KeptClips, tmp_path: Path) -> None:
    compared = compare(models, clips, LengthRequest(w_q=1.9))
    assert compared.tokens == models.tokenizer.encode(tmp_path / "mine.mp4", w_q=1.9)


def test_the_best_fixed_lengths_keep_to_a_budget(models: Models) -> None:
    # In the mean table four more tokens are worth 0.2 in the first block, then 0.1, 0.067 and 0.05.
    assert best_fixed(models, 16) == (4, 4, 4, 4)
    assert best_fixed(models, 20) == (8, 4, 4, 4)
    assert best_fixed(models, 27.9) == (8, 8, 4, 4)
    assert best_fixed(models, 32) == (8, 8, 8, 8)


def test_a_mixture_lies_between() -> None:
    low = Scored("4,4,4,4", 16, 1.0, 16, 16.0, 0.1, 20.0, 0.5, 0.4, "as ever")
    high = replace(
        low, assignment="8,8,8,8", tokens=32, tokens_per_second=32.0, bits_per_pixel=0.2, psnr=None, lpips=0.2
    )
    middle = mixed(low, high, 20)
    assert (middle.tokens, middle.tokens_per_second, middle.psnr) == (20, 20.0, None)
    assert middle.lpips == pytest.approx(0.35) and middle.bits_per_pixel == pytest.approx(0.125)
    assert mixed(low, high, 99).tokens == 32 and mixed(low, low, 20).tokens == 16


def test_others_spend_as_much(models: Models, clips: KeptClips) -> None:
    router = compare(models, clips, LengthRequest(assignment=(8, 4, 8, 4)))
    others = dict(at_the_same_cost(models, clips, router))
    assert list(others) == ["best fixed", "uniform"]
    assert others["best fixed"].assignment == "8,8,4,4" and others["uniform"].tokens == router.scored.tokens == 48


def test_a_tokenizer_without_a_router_is_refused() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        Models.load("nowhere")


def test_a_router_of_one_preference_is_refused(models: Models, tmp_path: Path) -> None:
    from evatok.router.model import Router
    from tests.app.small import ROUTER
    from tests.conftest import IN_PASSES, random_tokenizer

    bare = random_tokenizer(IN_PASSES)
    bare.save_pretrained(tmp_path / "bare")
    with pytest.raises(AppModelError, match="it has none"):
        Models.load(str(tmp_path / "bare"))
    bare.set_router(Router(replace(ROUTER, head="classification"))).save_pretrained(tmp_path / "paper")
    with pytest.raises(AppModelError, match="'classification'"):
        Models.load(str(tmp_path / "paper"))
