"""The list of weights."""

from evatok.pretrained.weights import WEIGHTS, prepare_weights


def test_prepares_all() -> None:
    files = prepare_weights()
    assert set(files) == set(WEIGHTS) >= {"lpips-alex", "lpips-vgg", "efficientnet-lite0", "i3d"}
    assert all(file.stat().st_size > 0 for file in files.values())
