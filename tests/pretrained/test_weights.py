"""The list of weights."""

import pytest

from evatok.pretrained.weights import WEIGHTS, prepare_weights


def test_prepares_all_or_the_named() -> None:
    files = prepare_weights()
    assert set(files) == set(WEIGHTS) >= {"lpips-alex", "lpips-vgg", "efficientnet-lite0", "i3d"}
    assert all(file.stat().st_size > 0 for file in files.values())
    assert prepare_weights(["lpips-alex"]) == {"lpips-alex": files["lpips-alex"]}


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="'lpips-squeeze'"):
        prepare_weights(["lpips-alex", "lpips-squeeze"])
